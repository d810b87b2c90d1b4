/** What a configuration may say: the shape of the YAML document, its defaults, and the Config that the other rooms read. */
import { join, normalize, resolve } from 'node:path/posix';
import { z } from 'zod';
import type { LogLevel } from '../system/log.ts';
import {
  describe,
  duration,
  expects,
  type KeyProblem,
  listOf,
  mapping,
  oneOf,
  orAbsent,
  pattern,
  section,
  text,
  toProblems,
  wholeNumber,
} from './fields.ts';
import { parseTemplate, type Template, templateExample } from './template.ts';
import { cronExample, type Parsed, parseCron } from './units.ts';

/** A whole, valid configuration. Paths are absolute, times in milliseconds. */
export interface Config {
  /** The file that was read. */
  readonly file: string;
  readonly root: string;
  readonly state: string;
  /** The control socket. */
  readonly socket: string;
  /** Port 0 asks the system for a free one. */
  readonly listen: { readonly host: string; readonly port: number };
  /** Threads that verify. */
  readonly workers: number;
  readonly inboxes: readonly InboxConfig[];
  readonly publish: { readonly graceMs: number; readonly keepTreesForMs: number; readonly maxTrees: number };
  readonly guards: { readonly maxRemovedPercent: number };
  readonly mirrors: readonly MirrorConfig[];
  readonly schedule: {
    readonly rescanMs: number;
    readonly probeMs: number;
    /** Five cron fields; null for never. */
    readonly scrub: string | null;
  };
  readonly log: { readonly level: LogLevel };
}

export interface InboxConfig {
  readonly builder: string;
  readonly path: string;
  readonly repositories: readonly Template[];
  /** Directory of trusted public keys. */
  readonly keys: string;
  readonly settleMs: number;
  readonly missingPackages: 'hold' | 'publish';
  readonly packageSignatures: 'require' | 'if-present' | 'ignore';
}

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

export type TransportConfig = SshTransportConfig | DirectoryTransportConfig;

export interface SchemaContext {
  /** Absolute path of the configuration file. */
  readonly file: string;
  /** $CREDENTIALS_DIRECTORY of the service, or null outside of it. */
  readonly credentialsDirectory: string | null;
}

/** Turns the value of a YAML document into a Config, or says everything that is wrong with its shape at once. */
export function parseConfig(value: unknown, context: SchemaContext): Parsed<Config> | { problems: KeyProblem[] } {
  const result = document.safeParse(value);
  return result.success
    ? { value: toConfig(result.data, context) }
    : { problems: result.error.issues.flatMap(toProblems) };
}

/** Where a service finds its credentials when systemd does not say so otherwise: systemd.exec(5), LoadCredential=. */
export const serviceCredentials = '/run/credentials/lockstepd.service';

/** The file that `identity` names: an absolute path, or the credential of that name where systemd puts it. */
export function identityPath(identity: string, credentialsDirectory: string | null): string {
  const name = credentialName(identity);
  return name === null ? identity : join(credentialsDirectory ?? serviceCredentials, name);
}

/** NAME of `credential:NAME`, or null for a plain path. */
export function credentialName(identity: string): string | null {
  return identity.startsWith('credential:') ? identity.slice('credential:'.length) : null;
}

const controls = /\p{Cc}/u;

function plainPath(written: string): Parsed<string> {
  const expected = 'a path without .. or control characters';
  if (written === '' || controls.test(written) || written.split('/').includes('..')) {
    return { problem: `${describe(written)}, expected ${expected}` };
  }
  const path = normalize(written);
  return { value: path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path };
}

function absolutePath(expected = 'an absolute path') {
  return text(expected, (written) =>
    written.startsWith('/') ? plainPath(written) : { problem: `${describe(written)}, expected ${expected}` },
  );
}

/** Names become metric labels and directory names. */
const name = (what: string) =>
  pattern(`${what} of 1 to 63 letters, digits, dots, dashes and underscores`, /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/);

const listenExample = 'HOST:PORT such as 127.0.0.1:9617 or [::1]:9617';
function parseListen(written: string): Parsed<Config['listen']> {
  const [, bracketed, plain, digits = ''] = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})$/.exec(written) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || Number(digits) > 65_535) {
    return { problem: `${describe(written)}, expected ${listenExample}` };
  }
  return { value: { host, port: Number(digits) } };
}

/** sun_path of unix(7) holds 108 bytes, the last of which is NUL. */
export const maxSocketBytes = 107;

const socketExample = `an absolute path of at most ${maxSocketBytes} bytes`;
function parseSocket(written: string): Parsed<string> {
  if (!written.startsWith('/') || Buffer.byteLength(written) > maxSocketBytes) {
    return { problem: `${describe(written)}, expected ${socketExample}` };
  }
  return plainPath(written);
}

const urlExample = 'a URL such as https://mirror.example.org/repository/, without user, query or fragment';
function parseUrl(written: string): Parsed<string> {
  const url = URL.canParse(written) ? new URL(written) : undefined;
  const extra = url && url.username + url.password + url.search + url.hash;
  if (!url || !/^https?:$/.test(url.protocol) || extra !== '') {
    return { problem: `${describe(written)}, expected ${urlExample}` };
  }
  return { value: url.href.endsWith('/') ? url.href : `${url.href}/` };
}

const identityExample = 'an absolute path or credential:NAME';
function parseIdentity(written: string): Parsed<string> {
  if (/^credential:[A-Za-z0-9][A-Za-z0-9._-]*$/.test(written)) return { value: written };
  return written.startsWith('/')
    ? plainPath(written)
    : { problem: `${describe(written)}, expected ${identityExample}` };
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
  ],
  {
    error: ({ input }) =>
      typeof input === 'object' && input !== null && !Array.isArray(input)
        ? expects('rsync, sftp or directory').error({ input: 'type' in input ? input.type : undefined })
        : expects('a mapping with the type rsync, sftp or directory').error({ input }),
  },
);

const inbox = mapping('an inbox', {
  builder: name('a name'),
  path: text('a path below root', plainPath),
  repositories: listOf('path templates', text(templateExample, parseTemplate), 1),
  keys: absolutePath('the absolute path of a directory of public keys'),
  settle: duration('0', '1d').prefault('5s'),
  missing_packages: oneOf('hold', 'publish').prefault('hold'),
  package_signatures: oneOf('require', 'if-present', 'ignore').prefault('if-present'),
});

const mirror = mapping('a mirror', {
  name: name('a name'),
  url: text(urlExample, parseUrl).optional(),
  transport,
});

const document = mapping('a configuration', {
  root: absolutePath(),
  state: absolutePath(),
  socket: text(socketExample, parseSocket).optional(),
  listen: text(listenExample, parseListen).prefault('127.0.0.1:9617'),
  workers: wholeNumber(1, 16).prefault(1),
  inboxes: listOf('inboxes', inbox, 1),
  publish: section({
    grace: duration('0', '365d').prefault('48h'),
    keep_trees_for: duration('0', '30d').prefault('6h'),
    max_trees: wholeNumber(2, 64).prefault(4),
  }),
  guards: section({ max_removed_percent: wholeNumber(0, 100).prefault(30) }),
  mirrors: orAbsent([], listOf('mirrors', mirror, 0)),
  schedule: section({
    rescan: duration('1s', '1d').prefault('60s'),
    probe: duration('1s', '1d').prefault('60s'),
    scrub: text(cronExample, parseCron).optional(),
  }),
  log: section({
    level: oneOf('debug', 'info', 'warn', 'error', 'silent').prefault('info'),
  }),
});

function toConfig(written: z.output<typeof document>, context: SchemaContext): Config {
  const { root, state, publish, guards, schedule } = written;
  return {
    file: context.file,
    root,
    state,
    socket: written.socket ?? join(state, 'lockstepd.sock'),
    listen: written.listen,
    workers: written.workers,
    inboxes: written.inboxes.map((entry) => ({
      builder: entry.builder,
      path: resolve(root, entry.path),
      repositories: entry.repositories,
      keys: entry.keys,
      settleMs: entry.settle,
      missingPackages: entry.missing_packages,
      packageSignatures: entry.package_signatures,
    })),
    publish: { graceMs: publish.grace, keepTreesForMs: publish.keep_trees_for, maxTrees: publish.max_trees },
    guards: { maxRemovedPercent: guards.max_removed_percent },
    mirrors: written.mirrors.map((entry) => ({
      name: entry.name,
      url: entry.url ?? null,
      transport: toTransport(entry.transport, context),
    })),
    schedule: { rescanMs: schedule.rescan, probeMs: schedule.probe, scrub: schedule.scrub ?? null },
    log: { level: written.log.level },
  };
}

function toTransport(written: z.output<typeof transport>, context: SchemaContext): TransportConfig {
  if (written.type === 'directory') return written;
  const { host_key, timeout: stallMs, identity, ...rest } = written;
  return { ...rest, identity: identityPath(identity, context.credentialsDirectory), hostKeys: host_key, stallMs };
}
