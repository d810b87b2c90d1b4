/** The far sides that the conformance suite runs against: where files end up, and a transport that leads there. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createDirectoryTransport } from '../../src/replicate/directory.ts';
import { createRcloneTransport } from '../../src/replicate/rclone.ts';
import { createRsyncTransport } from '../../src/replicate/rsync.ts';
import { createSftpTransport } from '../../src/replicate/sftp.ts';
import type { Transport } from '../../src/replicate/transport.ts';
import type { SshTarget } from '../../src/system/ssh.ts';
import { createKeyPair, serveSftp } from '../../src/system/ssh-server.ts';
import { mirrorRrsync, mirrorRsyncVersion, rrsyncKnows } from '../support/mirror-rsync.ts';
import { serveS3 } from '../support/s3.ts';
import { missingProgram, type Sshd, startSshd } from '../support/sshd.ts';
import { Webdav } from '../support/webdav.ts';

/** What this far side cannot promise, and what the suite then looks for instead. */
export interface Lacks {
  /** Times are not kept: they are listed as null. */
  readonly times?: true;
  /** A name with a line break is refused. */
  readonly lineBreaks?: true;
  /** Links to directories are followed: the account itself is the confinement. */
  readonly confinement?: true;
  /** While a file is replaced there is a moment without it. */
  readonly gaplessReplace?: true;
  /** Directories are only parts of names: none can be missing. */
  readonly directories?: true;
  /** It keeps to a rate of its own. */
  readonly pace?: true;
  /** What the server fails of is not told. */
  readonly reasons?: true;
}

export interface Limits {
  readonly stallMs?: number;
  readonly connectTimeoutMs?: number;
}

/** A directory at a far side; `transport()` makes a new one each time. */
export interface Place {
  readonly root: string;
  transport(limits?: Limits): Transport;
}

export interface Far extends AsyncDisposable {
  /** A new empty mirror root. */
  place(name: string): Place;
  /** False where the account may not read. */
  readonly lists: boolean;
  /** What an ssh transport needs to be led astray. */
  readonly ssh?: {
    readonly target: SshTarget;
    make(target: SshTarget, limits?: Limits): Transport;
  };
  readonly sshd?: Sshd;
  /** The directory that rrsync locks. */
  readonly locked?: string;
  readonly lacks?: Lacks;
}

export interface Kind {
  readonly name: string;
  /** Why it cannot run here. */
  readonly missing: string | undefined;
  open(): Promise<Far>;
}

function makeBase(): string {
  const base = mkdtempSync(join(tmpdir(), 'lockstepd-far-'));
  chmodSync(base, 0o755);
  return base;
}

function makeRoot(base: string, name: string): string {
  const root = join(base, name);
  mkdirSync(root);
  return root;
}

const directory: Kind = {
  name: 'directory',
  missing: undefined,
  open: () => {
    const base = makeBase();
    return Promise.resolve({
      lists: true,
      place: (name) => {
        const root = makeRoot(base, name);
        return { root, transport: (limits) => createDirectoryTransport({ path: root, ...limits }) };
      },
      [Symbol.asyncDispose]: async () => rmSync(base, { recursive: true, force: true }),
    });
  },
};

const embedded: Kind = {
  name: 'sftp to the embedded server',
  missing: undefined,
  open: async () => {
    const base = makeBase();
    const keys = createKeyPair();
    const keyBase = makeBase();
    const identity = join(keyBase, 'key');
    await writeFile(identity, keys.privateKey, { mode: 0o600 });
    const server = await serveSftp({ root: base, authorizedKey: keys.publicKey, port: 0 });
    const { port, hostKeyFingerprint } = server;
    const target: SshTarget = { host: '127.0.0.1', port, user: 'any', identity, hostKeys: [hostKeyFingerprint] };
    return {
      lists: true,
      ssh: { target, make: (other, limits) => createSftpTransport({ target: other, path: '/', ...limits }) },
      place: (name) => {
        const root = makeRoot(base, name);
        return { root, transport: (limits) => createSftpTransport({ target, path: `/${name}`, ...limits }) };
      },
      [Symbol.asyncDispose]: async () => {
        await server.close();
        rmSync(base, { recursive: true, force: true });
        rmSync(keyBase, { recursive: true, force: true });
      },
    };
  },
};

function overSshd(
  name: string,
  programs: readonly string[],
  command: (base: string) => string | null,
  create: typeof createSftpTransport,
  pathOf: (base: string, name: string) => string,
  more: { readonly lists: boolean; readonly locks?: boolean; readonly lacks?: Lacks },
): Kind {
  const missing = missingProgram('sshd', 'ssh-keygen', ...programs);
  return {
    name,
    missing: missing && `${missing} is absent`,
    open: async () => {
      const base = makeBase();
      const sshd = await startSshd({ mirror: command(base) });
      const { host, port, user, hostKeyFingerprint } = sshd;
      const target: SshTarget = { host, port, user, identity: sshd.identity('mirror'), hostKeys: [hostKeyFingerprint] };
      return {
        lists: more.lists,
        sshd,
        ...(more.locks ? { locked: base } : {}),
        ...(more.lacks ? { lacks: more.lacks } : {}),
        ssh: { target, make: (other, limits) => create({ target: other, path: pathOf(base, '.'), ...limits }) },
        place: (one) => {
          const root = makeRoot(base, one);
          return { root, transport: (limits) => create({ target, path: pathOf(base, one), ...limits }) };
        },
        [Symbol.asyncDispose]: async () => {
          await sshd[Symbol.asyncDispose]();
          rmSync(base, { recursive: true, force: true });
        },
      };
    },
  };
}

const missingRclone = missingProgram('rclone');

function overRclone(
  name: string,
  lacks: Lacks,
  open: (base: string, config: string) => Promise<AsyncDisposable & { readonly remote: string }>,
): Kind {
  return {
    name,
    missing: missingRclone && 'rclone is absent',
    open: async () => {
      const base = makeBase();
      const own = makeBase();
      const configFile = join(own, 'rclone.conf');
      const server = await open(base, configFile);
      return {
        lists: true,
        lacks,
        place: (one) => ({
          root: makeRoot(base, one),
          transport: (limits) =>
            createRcloneTransport({ remote: `${server.remote}${one}`, configFile, replace: 'auto', ...limits }),
        }),
        [Symbol.asyncDispose]: async () => {
          await server[Symbol.asyncDispose]();
          for (const one of [base, own]) rmSync(one, { recursive: true, force: true });
        },
      };
    },
  };
}

const rcloneKinds: readonly Kind[] = [
  overRclone(
    'rclone to an S3 server',
    { pace: true, lineBreaks: true, confinement: true, directories: true, reasons: true },
    async (base, config) => {
      const server = await serveS3('mirrors', base);
      const endpoint = `http://127.0.0.1:${server.port}`;
      await writeFile(
        config,
        `[s3]\ntype = s3\nprovider = Other\nendpoint = ${endpoint}\nregion = any\naccess_key_id = a\nsecret_access_key = b\n`,
        { mode: 0o600 },
      );
      return {
        remote: 's3:mirrors/',
        [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
      };
    },
  ),
  overRclone(
    'rclone to a local directory',
    { pace: true, lineBreaks: true, confinement: true },
    async (base, config) => {
      await writeFile(config, '[disk]\ntype = local\n', { mode: 0o600 });
      return { remote: `disk:${base}/`, [Symbol.asyncDispose]: async () => {} };
    },
  ),
  overRclone(
    'rclone to a WebDAV server',
    { pace: true, times: true, lineBreaks: true, gaplessReplace: true, reasons: true },
    async (base, config) => {
      const server = await Webdav.serve(base);
      await server.writeConfig(config);
      return { remote: 'dav:', [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
    },
  ),
];

const rrsync = mirrorRrsync ?? 'rrsync';
const locks = rrsyncKnows('-no-lock');
const insideRoot = (_base: string, name: string): string => `/${name}`;
/** rsync before 3.5 follows links that lie in the root of the mirror, behind rrsync too. */
const lacks: Lacks = mirrorRsyncVersion() < 305 ? { confinement: true } : {};

export const kinds: readonly Kind[] = [
  directory,
  embedded,
  overSshd('sftp to sshd', [], () => 'internal-sftp', createSftpTransport, join, { lists: true }),
  overSshd(
    'rsync to rrsync -wo',
    ['rsync', 'rrsync'],
    (base) => `${rrsync} -wo ${base}`,
    createRsyncTransport,
    insideRoot,
    {
      lists: false,
      locks,
      lacks,
    },
  ),
  overSshd('rsync to rrsync', ['rsync', 'rrsync'], (base) => `${rrsync} ${base}`, createRsyncTransport, insideRoot, {
    lists: true,
    locks,
    lacks,
  }),
  overSshd('rsync to a plain account', ['rsync'], () => null, createRsyncTransport, join, { lists: true, lacks }),
  ...rcloneKinds,
];
