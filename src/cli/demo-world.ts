/** Sets the demo's stage: its folder, key, builder, mirrors and the configuration of its primary, all of it gone at the end. */
import { rmSync } from 'node:fs';
import { mkdir, mkdtemp, rm, rmdir, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { errnoOf, messageOf, OperationError } from '../errors.ts';
import { createKeyPair, type SftpServer, serveSftp } from '../system/ssh-server.ts';
import { copyUploader, DemoBuilder, pushDirectory, rsyncUploader, type Uploader } from './demo-builder.ts';
import { findSshPrograms, type PrivateSshd, type SshPrograms, startPrivateSshd } from './demo-sshd.ts';
import { serveDirectories } from './demo-web.ts';

interface DemoMirror {
  readonly name: string;
  readonly what: string;
  readonly url: string;
}

export interface DemoWorld {
  readonly folder: string;
  readonly configFile: string;
  readonly socket: string;
  readonly builder: DemoBuilder;
  /** How the builder uploads, in words. */
  readonly way: string;
  /** Why there is no real rsync over ssh, or null when there is. */
  readonly without: string | null;
  readonly mirrors: readonly DemoMirror[];
  /** What the primary itself serves. */
  readonly primaryUrl: string;
  /** The mirror that goes away now and then. */
  readonly flaky: { readonly name: string; leave(): Promise<void>; comeBack(): Promise<void> };
}

const checkout = resolve(import.meta.dirname, '../..');
const flakyName = 'tokyo';

/** Puts everything that must end onto `stack`, also when it rejects half-way. `port` is the status page's, 0 for a free one. */
export async function createWorld(stack: AsyncDisposableStack, port: number, signal: AbortSignal): Promise<DemoWorld> {
  const folder = await makeFolder(stack);
  // Whatever needs a temporary place finds it in here.
  process.env.TMPDIR = join(folder, 'tmp');
  const [inbox, work, disk, tokyo, paris] = [
    'srv/inbox/demo',
    'builder',
    'mirrors/usb-disk',
    `mirrors/${flakyName}`,
    'mirrors/paris',
  ].map((name) => join(folder, name)) as [string, string, string, string, string];
  for (const directory of [inbox, work, disk, tokyo, paris, join(folder, 'keys'), join(folder, 'tmp')])
    await mkdir(directory, { recursive: true });

  const ssh = await trySsh(stack, { folder, inbox, work, paris }, signal);
  const builder = new DemoBuilder(ssh.uploader);
  await writeFile(join(folder, 'keys', builder.publicKey.name), builder.publicKey.pem);

  const sftp = await FlakySftp.start(tokyo);
  stack.use(sftp);
  const identity = join(folder, 'push-key');
  await writeFile(identity, sftp.clientKey, { mode: 0o600 });

  const roots = new Map([
    ['primary', join(folder, 'srv/public')],
    ['usb-disk', disk],
    [flakyName, tokyo],
    ...(ssh.sshd ? [['paris', paris] as const] : []),
  ]);
  const web = await serveDirectories(roots);
  stack.use(web);
  const url = (name: string): string => `http://127.0.0.1:${web.port}/${name}/`;

  const mirrors = [
    { name: 'usb-disk', what: 'a directory', url: url('usb-disk'), transport: { type: 'directory', path: disk } },
    {
      name: flakyName,
      what: 'an SFTP server inside this process, goes away now and then',
      url: url(flakyName),
      transport: { type: 'sftp', ...sftp.place, user: 'demo', path: '/', identity },
    },
    ...(ssh.sshd
      ? [
          {
            name: 'paris',
            what: 'an account with nothing but rrsync, at a private sshd',
            url: url('paris'),
            transport: rsyncTransport(ssh.sshd),
          },
        ]
      : []),
  ];
  const socket = join(folder, 'sock');
  const configFile = join(folder, 'lockstepd.yaml');
  await writeFile(configFile, configText({ folder, socket, port, mirrors }));
  return {
    folder,
    configFile,
    socket,
    builder,
    way: ssh.sshd ? 'by rsync over ssh, with a key that may do nothing else' : 'by copying into the inbox',
    without: ssh.without,
    mirrors,
    primaryUrl: url('primary'),
    flaky: { name: flakyName, leave: () => sftp.leave(), comeBack: () => sftp.comeBack() },
  };
}

/** A new folder below the checkout, where git does not look. */
async function makeFolder(stack: AsyncDisposableStack): Promise<string> {
  const parent = join(checkout, '.demo');
  let folder: string;
  try {
    await mkdir(parent, { recursive: true });
    folder = await mkdtemp(`${parent}/`);
  } catch (error) {
    throw new OperationError(
      'LAYOUT',
      `demo: cannot make a folder in ${parent}: ${messageOf(error)}: run it from a checkout that you may write to`,
      { cause: error },
    );
  }
  // A last resort, for an exit that does not wait for anybody (the reader of our output went away).
  const removeAtExit = (): void => rmSync(folder, { recursive: true, force: true });
  process.once('exit', removeAtExit);
  stack.defer(async () => {
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    process.off('exit', removeAtExit);
    // Another demo may still be at home in there.
    await rmdir(dirname(folder)).catch((error: unknown) => {
      if (!['ENOTEMPTY', 'ENOENT'].includes(errnoOf(error) ?? '')) throw error;
    });
  });
  return folder;
}

interface Ssh {
  readonly uploader: Uploader;
  readonly sshd: PrivateSshd | null;
  readonly without: string | null;
}

interface SshPlaces {
  readonly folder: string;
  readonly inbox: string;
  readonly work: string;
  readonly paris: string;
}

/** Real rsync over a real sshd where that works, which an upload of nothing shows; else copying, and why. */
async function trySsh(stack: AsyncDisposableStack, places: SshPlaces, signal: AbortSignal): Promise<Ssh> {
  const { folder, inbox, work, paris } = places;
  const without = (why: string): Ssh => ({ uploader: copyUploader(inbox), sshd: null, without: why });
  const programs = findSshPrograms(folder);
  if ('missing' in programs) return without(programs.missing);
  const attempt = new AsyncDisposableStack();
  try {
    const sshd = attempt.use(
      await startPrivateSshd(programs, join(folder, 'sshd'), accountsOf(programs, inbox, paris)),
    );
    await pushDirectory(programs, sshd, work, signal);
    stack.use(attempt);
    return { uploader: rsyncUploader(programs, sshd, work), sshd, without: null };
  } catch (error) {
    await attempt.disposeAsync();
    signal.throwIfAborted();
    return without(messageOf(error));
  }
}

/** The same forced commands as in config/sshd. */
function accountsOf({ rrsync }: SshPrograms, inbox: string, paris: string): Map<string, string> {
  return new Map([
    ['builder', `${rrsync} -wo -munge -no-del ${inbox}`],
    ['paris', `${rrsync} -wo ${paris}`],
  ]);
}

function rsyncTransport(sshd: PrivateSshd): object {
  return {
    type: 'rsync',
    host: '127.0.0.1',
    port: sshd.port,
    user: sshd.user,
    path: '/',
    identity: sshd.identity('paris'),
    host_key: sshd.hostKeyFingerprint,
  };
}

/** The embedded SFTP server, which can leave and come back at the same address with the same host key. */
class FlakySftp implements AsyncDisposable {
  readonly clientKey: string;
  readonly place: { readonly host: string; readonly port: number; readonly host_key: string };
  readonly #open: (port: number) => Promise<SftpServer>;
  #server: SftpServer | null;

  private constructor(clientKey: string, open: (port: number) => Promise<SftpServer>, server: SftpServer) {
    this.clientKey = clientKey;
    this.#open = open;
    this.#server = server;
    this.place = { host: '127.0.0.1', port: server.port, host_key: server.hostKeyFingerprint };
  }

  static async start(root: string): Promise<FlakySftp> {
    const { privateKey, publicKey } = createKeyPair();
    const hostKeyPem = createKeyPair().privateKey;
    const open = (port: number): Promise<SftpServer> => serveSftp({ root, authorizedKey: publicKey, hostKeyPem, port });
    return new FlakySftp(privateKey, open, await open(0));
  }

  async leave(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    await server?.close();
  }

  async comeBack(): Promise<void> {
    this.#server ??= await this.#open(this.place.port);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.leave();
  }
}

interface ConfigParts {
  readonly folder: string;
  readonly socket: string;
  readonly port: number;
  readonly mirrors: readonly { readonly name: string; readonly url: string; readonly transport: object }[];
}

/** A real configuration: YAML, whose flow style JSON is part of. */
function configText({ folder, socket, port, mirrors }: ConfigParts): string {
  const inbox = {
    builder: 'demo',
    path: 'inbox/demo',
    repositories: ['main/{arch}'],
    keys: join(folder, 'keys'),
    settle: '1s',
  };
  const lines = {
    root: join(folder, 'srv'),
    state: join(folder, 'state'),
    socket,
    listen: `127.0.0.1:${port}`,
    inboxes: [inbox],
    publish: { grace: '5m', keep_trees_for: '10s' },
    mirrors: mirrors.map(({ name, url, transport }) => ({ name, url, transport })),
    schedule: { rescan: '5s', probe: '1s' },
  };
  return Object.entries(lines)
    .map(([key, value]) => `${key}: ${JSON.stringify(value)}\n`)
    .join('');
}
