/** The demo's private sshd: on loopback, with keys of its own, one forced rrsync command per key, and nothing outside its folder. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { accessSync, constants, existsSync } from 'node:fs';
import { mkdir, readdir, readFile, readlink, writeFile } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { userInfo } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { messageOf } from '../errors.ts';
import { systemClock } from '../system/clock.ts';
import { createKeyPair } from '../system/ssh-server.ts';

export interface PrivateSshd extends AsyncDisposable {
  readonly port: number;
  readonly user: string;
  /** `SHA256:…` as the configuration pins it. */
  readonly hostKeyFingerprint: string;
  /** The private key file of an account. */
  identity(account: string): string;
  /** What `rsync -e` starts: ssh with this server's host key pinned and nobody's own configuration. */
  readonly remoteShell: string;
  /** The end of what sshd complained about. */
  complaint(): string;
}

export interface SshPrograms {
  readonly sshd: string;
  readonly ssh: string;
  readonly rsync: string;
  readonly rrsync: string;
}

/** sshd's processes end with their connections; those that do not are ended after this. */
const graceMs = 1000;

/** What real rsync over real ssh needs, or in words why it cannot be had. Looks at `folder` and the system, changes nothing. */
export function findSshPrograms(folder: string): SshPrograms | { readonly missing: string } {
  const names = ['sshd', 'ssh', 'rsync', 'rrsync'] as const;
  const found = Object.fromEntries(names.map((name) => [name, findProgram(name)]));
  const { sshd, ssh, rsync, rrsync } = found;
  if (sshd === undefined || ssh === undefined || rsync === undefined || rrsync === undefined) {
    return {
      missing: `${names.filter((name) => found[name] === undefined).join(', ')} not installed (.ci/setup installs it)`,
    };
  }
  // sshd_config, authorized_keys and `rsync -e` each have their own rules for quotes.
  if (!/^[\w./@+-]+$/.test(folder)) return { missing: 'the path of this directory holds unusual characters' };
  // As root sshd insists on this directory (privilege separation); it is not ours to make.
  if (process.getuid?.() === 0 && !existsSync('/run/sshd'))
    return { missing: 'sshd as root needs /run/sshd, which is absent' };
  return { sshd, ssh, rsync, rrsync };
}

function findProgram(name: string): string | undefined {
  const directories = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'].filter(
    (directory) => directory !== '',
  );
  return directories.map((directory) => join(directory, name)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/**
 * Listens on a free port of 127.0.0.1 and gives each connection an sshd of its own (`sshd -i`), which ends with it: even if
 * the demo is killed, none stays. `accounts` maps a name to the forced command of its key; all of them are this user.
 * Makes `folder`, a directory of the demo. Rejects when this user has no name or the folder cannot be made.
 */
export async function startPrivateSshd(
  programs: SshPrograms,
  folder: string,
  accounts: ReadonlyMap<string, string>,
): Promise<PrivateSshd> {
  const user = userInfo().username;
  await mkdir(folder, { mode: 0o700 });
  const identity = (account: string): string => join(folder, `key-${account}`);
  const host = await writeKeyPair(identity('host'));
  const lines: string[] = [];
  for (const [account, command] of accounts)
    lines.push(`restrict,command="${command}" ${await writeKeyPair(identity(account))}\n`);
  await writeFile(join(folder, 'authorized_keys'), lines.join(''), { mode: 0o600 });
  const config = join(folder, 'sshd_config');
  await writeFile(config, configText(folder, identity('host')));
  const sessions = new Sessions([programs.sshd, '-i', '-e', '-f', config]);
  const server = createServer({ pauseOnConnect: true }, (socket) => sessions.start(socket));
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  const port = address === null || typeof address === 'string' ? 0 : address.port;
  const knownHosts = join(folder, 'known_hosts');
  await writeFile(knownHosts, `[127.0.0.1]:${port} ${host}\n`);
  const options = [
    `UserKnownHostsFile=${knownHosts}`,
    'GlobalKnownHostsFile=/dev/null',
    'StrictHostKeyChecking=yes',
    'IdentitiesOnly=yes',
    'BatchMode=yes',
  ];
  return {
    port,
    user,
    hostKeyFingerprint: fingerprint(host),
    identity,
    remoteShell: [
      programs.ssh,
      '-F',
      '/dev/null',
      '-p',
      port,
      '-i',
      identity('builder'),
      ...options.flatMap((option) => ['-o', option]),
    ].join(' '),
    complaint: () => sessions.complaint,
    [Symbol.asyncDispose]: async () => {
      server.close();
      await sessions.end();
      await untilUnused(dirname(folder));
    },
  };
}

class Sessions {
  readonly #argv: readonly [string, ...string[]];
  readonly #running = new Set<ChildProcess>();
  complaint = '';

  constructor(argv: readonly [string, ...string[]]) {
    this.#argv = argv;
  }

  // Not through system/exec.ts: the child takes the socket itself, and its deadline is the life of the connection.
  start(socket: Socket): void {
    const [file, ...args] = this.#argv;
    // In a process group of its own: Ctrl-C is for the demo, which then ends this in good order.
    const child = spawn(file, args, { stdio: [socket, socket, 'pipe'], env: {}, detached: true });
    child.stderr.on('data', (chunk: Buffer) => (this.complaint = (this.complaint + chunk.toString()).slice(-2000)));
    child.on('error', (error) => (this.complaint = messageOf(error)));
    child.on('close', () => this.#running.delete(child));
    this.#running.add(child);
    // Ours is only a copy; the connection lives on in the child.
    socket.destroy();
  }

  async end(): Promise<void> {
    await this.#ended(graceMs);
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      for (const child of this.#running) child.kill(signal);
      await this.#ended(graceMs);
    }
  }

  async #ended(withinMs: number): Promise<void> {
    const enough = new AbortController();
    const deadline = systemClock.sleep(withinMs, { signal: enough.signal }).catch(() => {});
    const all = Promise.all([...this.#running].map((child) => new Promise((resolve) => child.once('close', resolve))));
    await Promise.race([all, deadline]);
    enough.abort();
  }
}

/** What sshd and rsync started ends by itself when they do, a moment later: waits for it, for a while. */
async function untilUnused(directory: string): Promise<void> {
  for (
    const deadline = systemClock.monotonic() + graceMs;
    systemClock.monotonic() < deadline;
    await systemClock.sleep(10)
  ) {
    const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
    const using = await Promise.all(pids.map((pid) => isUsing(pid, directory)));
    if (!using.includes(true)) return;
  }
}

async function isUsing(pid: string, directory: string): Promise<boolean> {
  try {
    const [command, cwd] = await Promise.all([readFile(`/proc/${pid}/cmdline`, 'utf8'), readlink(`/proc/${pid}/cwd`)]);
    return command.includes(directory) || cwd.startsWith(directory);
  } catch {
    // It has ended, or is another user's.
    return false;
  }
}

/** Writes a key pair; returns the public key as `ssh-ed25519 BASE64`. */
async function writeKeyPair(file: string): Promise<string> {
  const { privateKey, publicKey } = createKeyPair();
  await writeFile(file, privateKey, { mode: 0o600 });
  return publicKey.trim();
}

function fingerprint(publicKey: string): string {
  const blob = Buffer.from(publicKey.split(' ')[1] ?? '', 'base64');
  return `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`;
}

function configText(folder: string, hostKey: string): string {
  return [
    `HostKey ${hostKey}`,
    `AuthorizedKeysFile ${join(folder, 'authorized_keys')}`,
    'AuthenticationMethods publickey',
    'PermitRootLogin prohibit-password',
    'PermitUserRC no',
    'StrictModes no',
    'UsePAM no',
    'PidFile none',
    'LogLevel ERROR',
    // Start-up files of whoever runs the demo must have no say.
    `SetEnv HOME=${folder}`,
    '',
  ].join('\n');
}
