/** What a configuration says about a mirror: its transport, its account, its URL. */
import { z } from 'zod';
import { describe, duration, expects, mapping, oneOf, pattern, text, wholeNumber } from './fields.ts';
import { identityExample, identityPath, parseIdentity } from './identity.ts';
import { type MirrorLimits, mirrorLimits, toMirrorLimits } from './mirror-limits-schema.ts';
import { absolutePath, name, plainPath } from './names.ts';
import { type RcloneTransportConfig, rcloneTransport, toRcloneTransport } from './rclone-schema.ts';
import { cannotTakeOver, takeoverAfter, takeoverNeedsUrl } from './takeover-schema.ts';
import { needsUrl, type PullTransportConfig, triggerFields, type TriggerTransportConfig } from './trigger-schema.ts';
import type { Parsed } from './units.ts';

export interface MirrorConfig extends MirrorLimits {
  readonly name: string;
  /** What users fetch from, with a slash at its end; null when nothing is to be probed. */
  readonly url: string | null;
  readonly transport: TransportConfig;
  /** Another primary serves it: ours waits until what users see is older than this; null: ours serves it. */
  readonly takeoverAfterMs: number | null;
}

/** True where another primary may write too; `primary` is the name of ours: one that has a name is one of several. */
export function isShared({ takeoverAfterMs }: Pick<MirrorConfig, 'takeoverAfterMs'>, primary: string | null): boolean {
  return primary !== null || takeoverAfterMs !== null;
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
  /** Longest time of one call, unless it moves so much that its bytes need longer. */
  readonly deadlineMs: number;
  /** Whether files are synced to the mirror's disk before they get their name. */
  readonly fsync: 'always' | 'never';
}

interface DirectoryTransportConfig {
  readonly type: 'directory';
  readonly path: string;
}

export type TransportConfig =
  | SshTransportConfig
  | DirectoryTransportConfig
  | RcloneTransportConfig
  | TriggerTransportConfig
  | PullTransportConfig;

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
const hostKeyList = z
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
  host_key: hostKeyList,
  timeout: duration('1s', '1d').prefault('60s'),
  deadline: duration('1s', '7d').prefault('10m'),
  fsync: oneOf('always', 'never').prefault('always'),
};

const { path: _path, fsync: _fsync, deadline: _deadline, ...account } = ssh;
const types = 'rsync, sftp, directory, rclone, trigger or pull';

const transport = z.discriminatedUnion(
  'type',
  [
    mapping('an rsync transport', { type: z.literal('rsync'), ...ssh }),
    mapping('an sftp transport', { type: z.literal('sftp'), ...ssh }),
    mapping('a directory transport', { type: z.literal('directory'), path: absolutePath() }),
    rcloneTransport,
    mapping('a trigger transport', { type: z.literal('trigger'), ...account, ...triggerFields }),
    mapping('a pull transport', { type: z.literal('pull') }),
  ],
  {
    error: ({ input }) =>
      typeof input === 'object' && input !== null && !Array.isArray(input)
        ? expects(types).error({ input: 'type' in input ? input.type : undefined })
        : expects(`a mapping with the type ${types}`).error({ input }),
  },
);

export const mirror = mapping('a mirror', {
  name: name('a name'),
  url: text(urlExample, parseUrl).optional(),
  transport,
  takeover_after: takeoverAfter,
  ...mirrorLimits,
}).superRefine(({ url, transport: { type }, takeover_after: after }, context) => {
  const missing = url === undefined ? (needsUrl(type) ?? (after === undefined ? null : takeoverNeedsUrl)) : null;
  if (missing !== null) context.addIssue({ code: 'custom', path: ['url'], message: missing });
  const pointless = after === undefined ? null : cannotTakeOver(type);
  if (pointless !== null) context.addIssue({ code: 'custom', path: ['takeover_after'], message: pointless });
});

/** A mirror as the other rooms read it. */
export function toMirror(written: z.output<typeof mirror>, context: SchemaContext): MirrorConfig {
  const { name: called, url = null, takeover_after: takeoverAfterMs = null } = written;
  const to = toTransport(written.transport, context);
  return { name: called, url, transport: to, takeoverAfterMs, ...toMirrorLimits(written) };
}

function toTransport(written: z.output<typeof transport>, context: SchemaContext): TransportConfig {
  if (written.type === 'directory' || written.type === 'pull') return written;
  if (written.type === 'rclone') return toRcloneTransport(written, context.credentialsDirectory);
  const { host_key: hostKeys, timeout: stallMs, identity: named, ...rest } = written;
  const common = { identity: identityPath(named, context.credentialsDirectory), hostKeys, stallMs };
  if (rest.type === 'trigger') {
    const { min_interval: minIntervalMs, ...trigger } = rest;
    return { ...trigger, ...common, minIntervalMs };
  }
  const { deadline: deadlineMs, ...files } = rest;
  return { ...files, ...common, deadlineMs };
}
