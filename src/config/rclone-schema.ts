/** What a configuration says about a mirror that rclone reaches: an object store, a WebDAV server and whatever else it speaks. */
import { z } from 'zod';
import { describe, duration, mapping, oneOf, text } from './fields.ts';
import { identityExample, identityPath, parseIdentity } from './identity.ts';
import { plainPath } from './names.ts';
import type { Parsed } from './units.ts';

export interface RcloneTransportConfig {
  readonly type: 'rclone';
  /** `NAME:PATH` of a remote in the configuration of rclone, without a slash at its end. */
  readonly remote: string;
  /** The configuration of rclone. */
  readonly configFile: string;
  readonly stallMs: number;
  /** How a file takes the place of another one there: see the example configuration. */
  readonly replace: 'auto' | 'put' | 'rename';
}

const remoteExample = 'NAME:PATH as rclone writes it, NAME being a remote of its configuration';

/** Neither an option, nor a local path, nor a connection string, which may hold secrets. */
function parseRemote(written: string): Parsed<string> {
  const [, name = '', path = ''] = /^([A-Za-z0-9_][A-Za-z0-9_.-]*):(.*)$/s.exec(written) ?? [];
  const parsed: Parsed<string> = path === '' ? { value: '' } : plainPath(path);
  return name === '' || !('value' in parsed)
    ? { problem: `${describe(written.replace(/,.*/s, ',…'))}, expected ${remoteExample}` }
    : { value: `${name}:${parsed.value}` };
}

export const rcloneTransport = mapping('an rclone transport', {
  type: z.literal('rclone'),
  remote: text(remoteExample, parseRemote),
  config: text(identityExample, parseIdentity),
  timeout: duration('1s', '1d').prefault('60s'),
  replace: oneOf('auto', 'put', 'rename').prefault('auto'),
});

export function toRcloneTransport(
  written: z.output<typeof rcloneTransport>,
  credentialsDirectory: string | null,
): RcloneTransportConfig {
  const { type, remote, config, timeout: stallMs, replace } = written;
  return { type, remote, configFile: identityPath(config, credentialsDirectory), stallMs, replace };
}
