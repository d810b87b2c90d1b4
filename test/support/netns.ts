/** Hosts in a chain: network namespaces joined by veth pairs, with an sshd and a web server in each that a test asks for. Needs root. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { hasEnded } from './child.ts';
import { findProgram, makeKeyFile } from './sshd.ts';

const run = promisify(execFile);
const webServer = resolve(import.meta.dirname, 'netns-web.ts');
const sshPort = 2222;
const webPort = 8080;
/** A program that starts has so long, also on a machine that is ten times slower. */
const startMs = 60_000;

/** Why there can be no namespaces here; null when there can. */
export async function whyNoNamespaces(): Promise<string | null> {
  if (process.getuid?.() !== 0) return 'network namespaces need root';
  if (findProgram('ip') === undefined) return 'ip (iproute2) absent';
  const name = `lsd-${process.pid}-try`;
  try {
    await run('ip', ['netns', 'add', name]);
    await run('ip', ['netns', 'del', name]);
    return null;
  } catch (error) {
    return `no network namespace can be made: ${String(error)}`;
  }
}

export interface FarSshd {
  /** YAML of a transport's login, without its account's path. */
  readonly login: string;
  readonly port: number;
  readonly identity: string;
  readonly hostKeyFile: string;
}

/** `names` in order; each reaches the one before and the one after, at `addressOf`, and nothing else. */
export class Chain implements AsyncDisposable {
  readonly #directory: string;
  readonly #names: readonly string[];
  readonly #children: ChildProcess[] = [];

  private constructor(directory: string, names: readonly string[]) {
    this.#directory = directory;
    this.#names = names;
  }

  static async create(directory: string, names: readonly string[]): Promise<Chain> {
    const chain = new Chain(directory, names);
    await sweep();
    try {
      for (const name of names) {
        await run('ip', ['netns', 'add', chain.#space(name)]);
        await chain.ip(name, 'link', 'set', 'lo', 'up');
      }
      for (const [n, name] of names.slice(1).entries()) await chain.#join(n, names[n] ?? '', name);
      return chain;
    } catch (error) {
      await chain[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** What to put before a command so that it runs on that host; the process keeps its id. */
  on(name: string): readonly string[] {
    return ['ip', 'netns', 'exec', this.#space(name)];
  }

  /** The address of `name` on its link to the one before it. */
  addressOf(name: string): string {
    return `10.91.${this.#names.indexOf(name) - 1}.2`;
  }

  webOf(name: string): string {
    return `http://${this.addressOf(name)}:${webPort}/`;
  }

  async ip(name: string, ...args: string[]): Promise<void> {
    await run('ip', ['-n', this.#space(name), ...args]);
  }

  /** Takes the link between `name` and the one before it down, or up. */
  async setLink(name: string, state: 'up' | 'down'): Promise<void> {
    await this.ip(name, 'link', 'set', 'before', state);
  }

  /**
   * An sshd on `name` that its upstream reaches, with one account (root) and one key. With `chroot`, the inbox is all that the
   * account sees, as /inbox, as in config/sshd/leaf.conf; else `command` is forced.
   */
  async startSshd(name: string, access: { command: string } | { chroot: string }): Promise<FarSshd> {
    const home = join(this.#directory, `sshd-${name}`);
    await mkdir(home, { recursive: true });
    await mkdir('/run/sshd', { recursive: true, mode: 0o755 });
    for (const key of ['host', 'client']) await makeKeyFile(join(home, key));
    const forced = 'command' in access ? `command="${access.command}",` : '';
    const client = await readFile(join(home, 'client.pub'), 'utf8');
    await writeFile(join(home, 'authorized_keys'), `restrict,${forced} ${client}`.replace(', ', ' '), { mode: 0o600 });
    const config = join(home, 'sshd_config');
    const confined = 'chroot' in access ? ['ChrootDirectory /mnt', 'ForceCommand internal-sftp -d /inbox'] : [];
    const lines = [
      `Port ${sshPort}`,
      `ListenAddress ${this.addressOf(name)}`,
      `HostKey ${join(home, 'host')}`,
      `AuthorizedKeysFile ${join(home, 'authorized_keys')}`,
      'AuthenticationMethods publickey',
      'PermitRootLogin prohibit-password',
      'StrictModes no',
      'UsePAM no',
      'PidFile none',
      'ClientAliveInterval 2',
      'ClientAliveCountMax 2',
      'Subsystem sftp internal-sftp',
      ...confined,
    ];
    await writeFile(config, `${lines.join('\n')}\n`);
    const sshd = findProgram('sshd') ?? 'sshd';
    // `ip netns exec` gives the process mounts of its own: nobody else sees these.
    const script =
      'chroot' in access
        ? `mount -t tmpfs -o mode=755 none /mnt && mkdir /mnt/inbox && mount --bind '${access.chroot}' /mnt/inbox && exec ${sshd} -D -e -f '${config}'`
        : `exec ${sshd} -D -e -f '${config}'`;
    await this.#start(name, ['/bin/sh', '-c', script], 'Server listening');
    const blob = Buffer.from((await readFile(join(home, 'host.pub'), 'utf8')).split(' ')[1] ?? '', 'base64');
    const fingerprint = `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`;
    const identity = join(home, 'client');
    return {
      login: `host: ${this.addressOf(name)}, port: ${sshPort}, user: root, identity: ${identity}, host_key: "${fingerprint}"`,
      port: sshPort,
      identity,
      hostKeyFile: join(home, 'host.pub'),
    };
  }

  /** A web server on `name` that serves `directory`. */
  async startWeb(name: string, directory: string): Promise<void> {
    await this.#start(
      name,
      [process.execPath, webServer, this.addressOf(name), String(webPort), directory],
      'listening',
    );
  }

  /** Runs a command on `name` to its end; throws when it fails. */
  async exec(name: string, command: readonly string[]): Promise<string> {
    const [program = '', ...args] = [...this.on(name), ...command];
    return (await run(program, args, { timeout: 240_000 })).stdout;
  }

  /** Ends what was started, what that started, and whatever else still runs in a namespace; then the namespaces. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const name of this.#names) {
      const { stdout } = await run('ip', ['netns', 'pids', this.#space(name)]).catch(() => ({ stdout: '' }));
      for (const pid of stdout.split('\n').filter(Boolean)) kill(Number(pid));
    }
    for (const child of this.#children) child.kill('SIGKILL');
    for (const name of this.#names) await run('ip', ['netns', 'del', this.#space(name)]).catch(() => {});
  }

  /** Of this process alone: nobody else's namespace is ever touched. */
  #space(name: string): string {
    return `lsd-${process.pid}-${name}`;
  }

  async #join(n: number, before: string, name: string): Promise<void> {
    const [near, far] = [this.#space(before), this.#space(name)];
    await run('ip', ['link', 'add', 'after', 'netns', near, 'type', 'veth', 'peer', 'name', 'before', 'netns', far]);
    await this.ip(before, 'addr', 'add', `10.91.${n}.1/24`, 'dev', 'after');
    await this.ip(name, 'addr', 'add', `10.91.${n}.2/24`, 'dev', 'before');
    await this.ip(before, 'link', 'set', 'after', 'up');
    await this.ip(name, 'link', 'set', 'before', 'up');
  }

  async #start(name: string, command: readonly string[], sign: string): Promise<void> {
    const [program = '', ...args] = [...this.on(name), ...command];
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#children.push(child);
    let said = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-20_000)));
    const deadline = performance.now() + startMs;
    while (!said.includes(sign)) {
      if (hasEnded(child) || performance.now() > deadline) throw new Error(`${command.join(' ')}: ${said}`);
      await sleep(20);
    }
  }
}

/** Removes what tests left whose process did not live to do it. */
async function sweep(): Promise<void> {
  const { stdout } = await run('ip', ['netns', 'list']);
  for (const [space, owner] of stdout.matchAll(/^lsd-(\d+)-\S+/gm)) {
    if (existsSync(`/proc/${owner}`)) continue;
    // Another test may sweep at the same time: it is gone either way.
    const { stdout: pids } = await run('ip', ['netns', 'pids', space]).catch(() => ({ stdout: '' }));
    for (const pid of pids.split('\n').filter(Boolean)) kill(Number(pid));
    await run('ip', ['netns', 'del', space]).catch(() => {});
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It is gone already.
  }
}
