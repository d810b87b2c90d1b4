/** What a configuration says about a mirror: its transport, its account, its URL. */
import { z } from 'zod';
import { describe, duration, expects, mapping, oneOf, pattern, text, wholeNumber } from './fields.ts';
import { identityExample, identityPath, parseIdentity } from './identity.ts';
import { absolutePath, name, plainPath } from './names.ts';
import { type RcloneTransportConfig, rcloneTransport, toRcloneTransport } from './rclone-schema.ts';
import type { Parsed } from './units.ts';

export interface MirrorConfig {
  readonly name: string;
  /** What users fetch from, with a slash at its end; null when nothing is to be probed. */
  readonly url: string | null;
  readonly transport: TransportConfig;
}

interface SshTransportConfig {
  readonly type: 'rsync' | 'sftp';
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly path: string;
  /** File of the private key. */
  readonly identity: string;
  /** One of these SHA-256 fingerprints must be the server's. */
  readonly hostKeys: readonly string[];
  readonly stallMs: number;
  /** Whether files are synced to the mirror's disk before they get their name. */
  readonly fsync: 'always' | 'never';
}

interface DirectoryTransportConfig {
  readonly type: 'directory';
  readonly path: string;
}

export type TransportConfig = SshTransportConfig | DirectoryTransportConfig | RcloneTransportConfig;

export interface SchemaContext {
  /** Absolute path of the configuration file. */
  readonly file: string;
  /** $CREDENTIALS_DIRECTORY of the service, or null outside of it. */
  readonly credentialsDirectory: string | null;
}

const urlExample = 'a URL such as https://mirror.example.org/repository/, without user, query or fragment';
function parseUrl(written: string): Parsed<string> {
  const url = URL.canParse(written) ? new URL(written) : undefined;
  const extra = url && url.username + url.password + url.search + url.hash;
  if (!url || !/^https?:$/.test(url.protocol) || extra !== '') {
    return { problem: `${describe(withoutSecrets(written))}, expected ${urlExample}` };
  }
  return { value: url.href.endsWith('/') ? url.href : `${url.href}/` };
}

/** The URL as a problem may show it: what stands before an @ or after a ? may be a password, and problems end up in logs. */
export function withoutSecrets(written: string): string {
  return written.replace(/^([a-z][a-z0-9+.-]*:\/\/)?.*@/is, '$1…@').replace(/[?#].*/s, '?…');
}

const hostKeyExample = 'SHA256: and 43 base64 characters, as ssh-keygen -lf prints';
const hostKeys = z
  .union([z.string(), z.array(z.unknown()).min(1)], expects(`${hostKeyExample}, or a list of such`))
  .transform((written, context) => {
    const keys = typeof written === 'string' ? [written] : written;
    return keys.map((key, index) => {
      if (typeof key === 'string' && /^SHA256:[A-Za-z0-9+/]{43}$/.test(key)) return key;
      const path = typeof written === 'string' ? [] : [index];
      context.addIssue({ code: 'custom', path, message: `${describe(key)}, expected ${hostKeyExample}` });
      return z.NEVER;
    });
  });

const ssh = {
  // Neither may begin with a dash: both become arguments of ssh and rsync.
  host: pattern('a host name or address', /^(?:[A-Za-z0-9][A-Za-z0-9.-]{0,252}|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*)$/),
  port: wholeNumber(1, 65_535).prefault(22),
  user: pattern('a user name', /^[A-Za-z0-9_][A-Za-z0-9._@-]{0,63}$/),
  path: text('the directory on the mirror', (written) =>
    written.startsWith('-') ? { problem: `${describe(written)}, expected no leading dash` } : plainPath(written),
  ),
  identity: text(identityExample, parseIdentity),
  host_key: hostKeys,
  timeout: duration('1s', '1d').prefault('60s'),
  fsync: oneOf('always', 'never').prefault('always'),
};

const transport = z.discriminatedUnion(
  'type',
  [
    mapping('an rsync transport', { type: z.literal('rsync'), ...ssh }),
    mapping('an sftp transport', { type: z.literal('sftp'), ...ssh }),
    mapping('a directory transport', { type: z.literal('directory'), path: absolutePath() }),
    rcloneTransport,
  ],
  {
    error: ({ input }) =>
      typeof input === 'object' && input !== null && !Array.isArray(input)
        ? expects('rsync, sftp, directory or rclone').error({ input: 'type' in input ? input.type : undefined })
        : expects('a mapping with the type rsync, sftp, directory or rclone').error({ input }),
  },
);

export const mirror = mapping('a mirror', {
  name: name('a name'),
  url: text(urlExample, parseUrl).optional(),
  transport,
});

/** A mirror as the other rooms read it. */
export function toMirror(written: z.output<typeof mirror>, context: SchemaContext): MirrorConfig {
  return { name: written.name, url: written.url ?? null, transport: toTransport(written.transport, context) };
}

function toTransport(written: z.output<typeof transport>, context: SchemaContext): TransportConfig {
  if (written.type === 'directory') return written;
  if (written.type === 'rclone') return toRcloneTransport(written, context.credentialsDirectory);
  const { host_key, timeout: stallMs, identity, ...rest } = written;
  return { ...rest, identity: identityPath(identity, context.credentialsDirectory), hostKeys: host_key, stallMs };
}
