/** What the bench runs on: a primary with a tree of a given size, a builder that uploads through sshd and rrsync, mirrors seeded by copy. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createSigningKey } from '../../src/apk/make.ts';
import { SampleRepository } from '../../src/cli/sample-builder.ts';
import { childEnvironment, exec } from '../../src/system/exec.ts';
import type { Sshd } from '../support/sshd.ts';
import { unitEnvironment } from '../support/unit.ts';

/** As it is installed: compiled, not stripped of types at each start. */
const main = resolve(import.meta.dirname, '../../dist/main.js');
const packagesInARepository = 1000;
/** Pushes in hand are given 20 s; what takes so long is stuck. */
const longestStopMs = 60_000;

export interface World extends AsyncDisposable {
  readonly directory: string;
  readonly repositories: readonly SampleRepository[];
}

/** Builds repositories of 1,000 packages of 2 KB each; `count` packages in all, as a builder would upload them. */
export async function createWorld(count: number): Promise<World> {
  const directory = await mkdtemp(join(tmpdir(), 'lockstepd-bench-'));
  const key = createSigningKey('bench-1.rsa.pub');
  for (const name of ['srv/inbox/bench', 'state', 'keys', 'sftp', 'unsynced', 'rsync', 'baseline'])
    await mkdir(join(directory, name), { recursive: true });
  await writeFile(join(directory, 'keys', key.name), key.publicPem);
  const repositories: SampleRepository[] = [];
  for (let r = 0; r * packagesInARepository < count; r++) {
    const repository = new SampleRepository(`r${String(r).padStart(3, '0')}/x86_64`, key);
    for (let i = 0; i < Math.min(packagesInARepository, count - r * packagesInARepository); i++) {
      repository.set({ name: `pkg-${i}`, version: '1.0-r0', contentBytes: 2000, seed: r * packagesInARepository + i });
    }
    await repository.write(join(directory, 'srv/inbox/bench'));
    repositories.push(repository);
  }
  return { directory, repositories, [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }) };
}

export type MirrorKind = 'sftp' | 'sftp, fsync: never' | 'rsync';

/** The directory and the account of a kind of mirror. */
export function accountOf(kind: MirrorKind): 'sftp' | 'unsynced' | 'rsync' {
  return kind === 'sftp, fsync: never' ? 'unsynced' : kind;
}

/** A mirror needs the server that it lies behind. `more`: top-level YAML. */
export async function configure(
  world: World,
  sshd: Sshd | null,
  mirror: MirrorKind | null,
  more = '',
): Promise<string> {
  const { directory } = world;
  const file = join(directory, 'lockstepd.yaml');
  const account = accountOf(mirror ?? 'sftp');
  const path = mirror === 'rsync' ? '/' : join(directory, account);
  const fsync = mirror === 'sftp, fsync: never' ? 'never' : 'always';
  const mirrors =
    mirror === null || sshd === null
      ? 'mirrors: []'
      : `mirrors:
  - name: mirror
    transport: { type: ${mirror === 'rsync' ? 'rsync' : 'sftp'}, fsync: ${fsync}, host: 127.0.0.1, port: ${sshd.port}, user: ${sshd.user}, path: ${path}, identity: ${sshd.identity(account)}, host_key: "${sshd.hostKeyFingerprint}" }`;
  await writeFile(
    file,
    `root: ${join(directory, 'srv')}
state: ${join(directory, 'state')}
listen: 127.0.0.1:0
inboxes:
  - builder: bench
    path: inbox/bench
    repositories: ["*/{arch}"]
    keys: ${join(directory, 'keys')}
    settle: 1s
${mirrors}
${more}
`,
  );
  return file;
}

/** The state database of the world's daemon, and its socket. */
export function stateOf({ directory }: World): { readonly database: string; readonly socket: string } {
  return { database: join(directory, 'state/state.db'), socket: join(directory, 'state/lockstepd.sock') };
}

export interface LogEvent {
  readonly event: string;
  readonly generation?: number;
  readonly mirror?: string;
  readonly seconds?: number;
  readonly time: string;
}

/** The real daemon as a process; its log is read as it comes. */
export class BenchDaemon implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #tolerant: boolean;
  readonly #events: LogEvent[] = [];
  #tail = '';

  /** `tolerant`: of mirrors that fail. */
  constructor(configFile: string, options: { readonly tolerant?: boolean } = {}) {
    this.#tolerant = options.tolerant ?? false;
    this.#child = spawn(process.execPath, [main, 'run', '--config', configFile], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: childEnvironment(unitEnvironment),
    });
    // Nothing is left running when the bench is ended half way.
    const end = (): void => void this.#child.kill('SIGKILL');
    process.on('exit', end);
    this.#child.once('close', () => process.off('exit', end));
    this.#child.stdout?.on('data', (chunk: Buffer) => {
      const lines = (this.#tail + chunk.toString()).split('\n');
      this.#tail = lines.pop() ?? '';
      for (const line of lines) this.#events.push(JSON.parse(line) as LogEvent);
    });
  }

  /** Waits for an event with at least this generation; throws when it does not come. */
  async event(name: string, generation: number, timeoutMs = 900_000, mirror?: string): Promise<LogEvent> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const found = this.#events.find(
        (e) => e.event === name && (e.generation ?? 0) >= generation && (mirror === undefined || e.mirror === mirror),
      );
      if (found) return found;
      const failed = this.#events.find(
        (e) =>
          (!this.#tolerant && e.event.endsWith('_failed')) || e.event === 'batch_held' || e.event === 'batch_rejected',
      );
      if (failed) throw new Error(`the daemon says ${JSON.stringify(failed)}`);
      if (performance.now() > deadline || this.#child.exitCode !== null)
        throw new Error(`no ${name} of generation ${generation}`);
      await new Promise((done) => {
        setTimeout(done, 5);
      });
    }
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** The most memory that the process has ever had, in MB. */
  async peakRssMegabytes(): Promise<number> {
    const status = await readFile(`/proc/${this.#child.pid}/status`, 'utf8');
    return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) / 1024;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = new Promise<NodeJS.Signals | null>((done) => {
      this.#child.once('close', (_code, by) => done(by));
    });
    this.#child.kill(signal);
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), longestStopMs);
    const by = await ended;
    clearTimeout(timer);
    if (signal !== 'SIGKILL' && by === 'SIGKILL')
      throw new Error(`the daemon did not stop within ${longestStopMs / 1000} s and was killed`);
  }
}

/**
 * Uploads `directory` into the inbox over ssh through rrsync. Resolves when the client's rsync has ended. By checksum: two
 * indexes of one size made within a second are one to rsync's quick check.
 */
export async function upload(sshd: Sshd, directory: string): Promise<void> {
  await mustSucceed(['rsync', '-rtc', '-e', sshCommand(sshd, 'builder'), `${directory}/`, `${sshd.user}@127.0.0.1:/`]);
}

/** What mirror scripts do today: the whole tree over a new ssh connection. */
export async function wholeTreeRsync(sshd: Sshd, source: string): Promise<void> {
  await mustSucceed([
    'rsync',
    '-a',
    '--delete-delay',
    '--delay-updates',
    '-e',
    sshCommand(sshd, 'baseline'),
    `${source}/`,
    `${sshd.user}@127.0.0.1:/`,
  ]);
}

function sshCommand(sshd: Sshd, account: string): string {
  const options = [
    '-o StrictHostKeyChecking=no',
    '-o UserKnownHostsFile=/dev/null',
    '-o LogLevel=ERROR',
    '-o IdentitiesOnly=yes',
    '-o ControlPath=none',
  ];
  return `ssh -p ${sshd.port} -i ${sshd.identity(account)} ${options.join(' ')}`;
}

async function mustSucceed(argv: [string, ...string[]]): Promise<void> {
  const result = await exec(argv, { env: childEnvironment(), timeoutMs: 1_800_000 });
  if (result.code !== 0) throw new Error(`${argv[0]} ended with ${result.code}: ${result.stderr}`);
}
