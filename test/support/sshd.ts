/** A private OpenSSH server on loopback with its own keys: one client key per account, each with its own forced command. */
import { execFile, spawn } from 'node:child_process';
import { createHash, randomInt } from 'node:crypto';
import { once } from 'node:events';
import { accessSync, constants, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createConnection, createServer } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { basename, delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A program that starts has so long, also on a machine that is ten times slower. */
const startMs = 60_000;

export interface Sshd extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  /** `SHA256:…` as the configuration pins it. */
  readonly hostKeyFingerprint: string;
  readonly pid: number;
  /** The private key file of an account named at the start. */
  identity(account: string): string;
  /** Ends every session process and what it started (never the listener): what a crash at the far side looks like. */
  killSessions(): void;
  /** Stops every session process where it stands: what a hung host looks like. They are ended with the server. */
  freezeSessions(): void;
}

const ownPath = process.env.PATH ?? '';

/** Where a mirror looks for its rsync and rrsync: `npm run rsync:versions` puts those of another release before ours. */
export const mirrorPath = [process.env.LOCKSTEPD_MIRROR_PATH ?? [], ownPath].flat().join(delimiter);

/** The path of a program, or undefined; sbin directories are looked at too. */
export function findProgram(name: string, searchPath = ownPath): string | undefined {
  const directories = [...searchPath.split(delimiter), '/usr/sbin', '/sbin', '/usr/local/sbin'];
  return directories
    .map((directory) => join(directory, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** The first of these programs that is missing here, for `t.skip`. */
export function missingProgram(...names: string[]): string | undefined {
  return names.find((name) => findProgram(name) === undefined);
}

/** Writes a private key to `path` and the public key beside it. */
export async function makeKeyFile(path: string, passphrase = ''): Promise<void> {
  await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', passphrase, '-C', basename(path), '-f', path]);
}

/**
 * Starts sshd. `accounts` maps a name to its forced command, or to null for a plain account. All of them are the user
 * who runs the tests. `settings` are lines of its configuration beyond ours.
 */
export async function startSshd(
  accounts: Readonly<Record<string, string | null>>,
  settings: readonly string[] = [],
): Promise<Sshd> {
  const program = findProgram('sshd');
  if (program === undefined) throw new Error('sshd is not installed');
  if (userInfo().uid === 0) mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
  const home = await mkdtemp(join(tmpdir(), 'lockstepd-sshd-'));
  const key = (name: string): string => join(home, `key-${name}`);
  for (const name of ['host', ...Object.keys(accounts)]) {
    await makeKeyFile(key(name));
  }
  const lines = Object.entries(accounts).map(([name, command]) => {
    const options = command === null ? 'restrict' : `restrict,command="${command.replaceAll('"', '\\"')}"`;
    return `${options} ${readFileSync(`${key(name)}.pub`, 'utf8')}`;
  });
  await writeFile(join(home, 'authorized_keys'), lines.join(''), { mode: 0o600 });
  const { port, pid } = await listen(program, home, key('host'), settings);
  const blob = Buffer.from((await readFile(`${key('host')}.pub`, 'utf8')).split(' ')[1] ?? '', 'base64');
  return {
    host: '127.0.0.1',
    port,
    user: userInfo().username,
    hostKeyFingerprint: `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`,
    pid,
    identity: key,
    killSessions: () => descendants(pid).forEach((one) => signalProcess(one, 'SIGKILL')),
    freezeSessions: () => descendants(pid).forEach((one) => signalProcess(one, 'SIGSTOP')),
    [Symbol.asyncDispose]: async () => {
      const all = [...descendants(pid), pid];
      all.forEach((one) => signalProcess(one, 'SIGKILL'));
      await rm(home, { recursive: true, force: true });
    },
  };
}

/** sshd cannot listen on port 0: take a port that is free now, and try another one when somebody was quicker. */
async function listen(
  program: string,
  home: string,
  hostKey: string,
  settings: readonly string[],
): Promise<{ port: number; pid: number }> {
  const more = [...settings, ...(await settingsOf(program))];
  for (let attempt = 1; ; attempt++) {
    const port = await freePort();
    const config = join(home, 'sshd_config');
    await writeFile(config, [...sshdConfig(port, home, hostKey), ...more, ''].join('\n'));
    const child = spawn('/bin/sh', ['-c', keeper, 'sshd', program, '-D', '-e', '-f', config], { stdio: 'pipe' });
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-4000)));
    const pid = Number(String(await once(child.stdout, 'data')));
    // Its own word: on a port that somebody else took first, somebody else would answer.
    for (const deadline = performance.now() + startMs; existsSync(`/proc/${pid}`) && performance.now() < deadline; ) {
      if (said.includes(`Server listening on 127.0.0.1 port ${port}`)) {
        for (const one of [child, child.stdin, child.stdout, child.stderr])
          (one as unknown as { unref(): void }).unref();
        return { port, pid };
      }
      await sleep(10);
    }
    child.stdin.end();
    if (attempt === 5) throw new Error(`sshd did not start: ${said}`);
  }
}

/** Says the pid of sshd, and ends it when the test's process is gone, however that ended. */
const keeper = '"$@" & echo $!; cat >/dev/null; kill $! 2>/dev/null';

/** From 9.8 on, sshd refuses an address from which connections were cut or keys were wrong: that is what tests do, from one address. */
async function settingsOf(program: string): Promise<string[]> {
  const { stdout, stderr } = await run(program, ['-V']).catch((error: { stdout: string; stderr: string }) => error);
  const [, major = '', minor = ''] = /OpenSSH_(\d+)\.(\d+)/.exec(stdout + stderr) ?? [];
  return Number(major) * 100 + Number(minor) >= 908 ? ['PerSourcePenalties no'] : [];
}

function sshdConfig(port: number, home: string, hostKey: string): string[] {
  return [
    `Port ${port}`,
    'ListenAddress 127.0.0.1',
    `HostKey ${hostKey}`,
    `AuthorizedKeysFile ${join(home, 'authorized_keys')}`,
    'AuthenticationMethods publickey',
    'PermitRootLogin prohibit-password',
    'StrictModes no',
    'UsePAM no',
    'PidFile none',
    // It says when it listens.
    'LogLevel INFO',
    'MaxStartups 100',
    // Shell start-up files of whoever runs the tests must have no say (they may print, and take longer than rsync).
    `SetEnv HOME=${home}${process.env.LOCKSTEPD_MIRROR_PATH === undefined ? '' : ` "PATH=${mirrorPath}"`}`,
    'Subsystem sftp internal-sftp',
  ];
}

const givenPorts = new Set<number>();

/**
 * A port of the loopback interface on which nothing listens at this moment. Below those that the system gives to whoever
 * asks for any, so that nobody gets it by chance before it is used, or while a server that stood there starts again.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(10_000, 32_000);
    if (givenPorts.has(port)) continue;
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
    });
    if (!isFree) continue;
    givenPorts.add(port);
    return port;
  }
}

/** Waits until something answers on a port of the loopback interface; throws when `hasEnded` says that nothing will. */
export async function untilAnswers(port: number, what: string, hasEnded: () => boolean): Promise<void> {
  const deadline = performance.now() + startMs;
  while (!(await answers(port))) {
    if (hasEnded()) throw new Error(`${what} has ended`);
    if (performance.now() > deadline) throw new Error(`${what} does not answer`);
    await sleep(20);
  }
  // The answer may be that of another one, which had the port first.
  if (hasEnded()) throw new Error(`${what} has ended`);
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host: '127.0.0.1', port });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** Process ids below `pid`, deepest first. */
function descendants(pid: number): number[] {
  let children: number[];
  try {
    children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
  } catch {
    return [];
  }
  return children.flatMap((child) => [...descendants(child), child]);
}

function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It is gone already.
  }
}
