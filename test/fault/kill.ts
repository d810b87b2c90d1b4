/** Stops the driver at single system calls by strace: kills it there, or lets the call fail, then checks, recovers, checks, tries again. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { makeFixture, Session, upload, violation } from './session.ts';

/** What changes a file system. */
const changing = (
  'link linkat rename renameat renameat2 unlink unlinkat mkdir mkdirat rmdir symlink symlinkat chmod fchmod fchmodat fsync ' +
  'fdatasync write pwrite64 writev pwritev ftruncate utimensat copy_file_range'
).split(' ');
/** What else can fail. */
const looking = 'openat read pread64 readv statx newfstatat fstat getdents64 readlink flock'.split(' ');

export type Fault = 'KILL' | 'EIO' | 'ENOSPC' | 'EMFILE';

/** `publish`: ingest, publish and prune of a batch; `recover`: a start after a kill in the middle of them. */
export type Scene = 'publish' | 'recover';

export interface Point {
  readonly scene: Scene;
  /** Name of the thread. */
  readonly thread: string;
  readonly call: string;
  /** The how manieth of these calls in that thread, from 1. */
  readonly nth: number;
}

export interface Outcome {
  readonly point: Point;
  readonly fault: Fault;
  readonly fired: boolean;
  readonly violations: readonly string[];
}

export class KillHarness implements AsyncDisposable {
  readonly #base: string;
  readonly #args: readonly string[];
  #number = 0;

  private constructor(base: string, args: readonly string[]) {
    this.#base = base;
    this.#args = args;
  }

  /** `nodeArgs` may load something that breaks the driver on purpose. */
  static async create(nodeArgs: readonly string[] = []): Promise<KillHarness> {
    const harness = new KillHarness(await mkdtemp(join(tmpdir(), 'lockstepd-fault-')), nodeArgs);
    await harness.#prepare();
    return harness;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#base, { recursive: true, force: true });
  }

  /** Every call of a run without a fault, in each thread that makes any. */
  async points(scene: Scene, fault: Fault): Promise<Point[]> {
    const calls = fault === 'KILL' ? changing : [...changing, ...looking];
    const directory = await this.#copy(scene);
    const trace = join(this.#base, 'trace');
    const run = await this.#start(directory, scene);
    const traced = await this.#attach(['-f', '-y', '-p', String(run.child.pid), '-o', trace], calls);
    const code = await this.#go(run, directory, scene);
    await traced.ended;
    await rm(directory, { recursive: true });
    if (code !== 0) throw new Error(`the driver ended with ${code} without a fault: ${run.said()}`);
    const counts = new Map<string, number>();
    const points: Point[] = [];
    for (const line of (await readFile(trace, 'utf8')).split('\n')) {
      const found = /^(\d+) +(\w+)\((?:\d+<([^>]*)>|AT_FDCWD<)?/.exec(line);
      const [, tid = '', call = '', path] = found ?? [];
      const thread = run.threads.get(tid);
      if (thread === undefined) continue;
      const key = `${thread} ${call}`;
      const nth = (counts.get(key) ?? 0) + 1;
      counts.set(key, nth);
      // Pipes and event descriptors are no files.
      if (path !== undefined && !path.includes(this.#base)) continue;
      if (fault !== 'KILL' && looking.includes(call) && !line.includes(this.#base)) continue;
      points.push({ scene, thread, call, nth });
    }
    return points;
  }

  /** One run with one fault. */
  async run(point: Point, fault: Fault): Promise<Outcome> {
    const { scene, thread, call, nth } = point;
    const directory = await this.#copy(scene);
    const violations: string[] = [];
    const complain = (when: string, found: string | null): void => void (found && violations.push(`${when}: ${found}`));
    const uploads = join(this.#base, 'fixture/uploads');
    const run = await this.#start(directory, scene);
    const tid = [...run.threads].find(([, name]) => name === thread)?.[0];
    if (tid === undefined) throw new Error(`no thread ${thread} in ${[...run.threads.values()].join(' ')}`);
    const inject = fault === 'KILL' ? 'signal=KILL' : `error=${fault}`;
    const log = join(this.#base, `log-${this.#number}`);
    const attached = await this.#attach(['-p', tid, '-e', `inject=${call}:${inject}:when=${nth}`, '-o', log], [call]);
    const code = await this.#go(run, directory, scene);
    await attached.ended;
    const fired = fault === 'KILL' ? code === null : (await readFile(log, 'utf8')).includes('(INJECTED)');
    const had = scene === 'publish' ? 2 : 1;
    const done = run.said().includes('"served":true');
    complain('after the fault', violation(directory, done && code === 0 ? 3 : had, uploads));
    if (fired && fault !== 'KILL' && code === 0 && !done) violations.push('exit code 0, not published');
    if (fired && fault !== 'KILL' && mustBeSaid(point) && !/"complaints":\[[^\]]/.test(run.said()) && code === 0)
      violations.push('nobody said a word');
    try {
      const session = await Session.open(directory);
      complain('after recovery', violation(directory, had, uploads));
      await upload(directory, 3, uploads);
      if (!(await session.untilServed(directory, 3, uploads)))
        violations.push(`tried again: not published: ${session.complaints.join(' ')}`);
      await session.prune();
      await session.close();
      complain('tried again', violation(directory, 3, uploads));
    } catch (error) {
      violations.push(`cannot recover: ${String(error)}`);
    }
    await rm(directory, { recursive: true });
    await rm(log, { force: true });
    return { point, fault, fired, violations };
  }

  /** What all runs begin with: upload 1 published; for recovery also a publish of upload 3 that was killed before the switch. */
  async #prepare(): Promise<void> {
    const fixture = join(this.#base, 'fixture');
    await makeFixture(fixture, 3);
    const session = await Session.open(fixture);
    await upload(fixture, 1);
    if (!(await session.untilServed(fixture, 1))) throw new Error(session.complaints.join('\n'));
    await session.close();
    const half = join(this.#base, 'half');
    await this.#copyTo(half);
    const run = await this.#start(half, 'publish');
    const tid = [...run.threads].find(([, name]) => name === 'libuv-worker')?.[0] ?? '';
    const attached = await this.#attach(
      ['-p', tid, '-e', 'inject=symlink:signal=KILL', '-o', '/dev/null'],
      ['symlink'],
    );
    const code = await this.#go(run, half, 'publish');
    await attached.ended;
    if (code !== null) throw new Error(`the driver was not killed at the switch: ${run.said()}`);
  }

  async #copy(scene: Scene): Promise<string> {
    const directory = join(this.#base, `run-${this.#number++}`);
    await (scene === 'publish' ? this.#copyTo(directory) : cp(join(this.#base, 'half'), directory, copying));
    return directory;
  }

  async #copyTo(directory: string): Promise<void> {
    await mkdir(directory);
    for (const name of ['srv', 'state', 'keys'])
      await cp(join(this.#base, 'fixture', name), join(directory, name), copying);
  }

  async #start(directory: string, scene: Scene): Promise<Run> {
    const warm = scene === 'publish' ? '2' : '0';
    const uploads = join(this.#base, 'fixture/uploads');
    const driver = resolve(import.meta.dirname, 'driver.ts');
    const child = spawn(process.execPath, [...this.#args, driver, directory, warm, '3', uploads], {
      env: { ...process.env, UV_THREADPOOL_SIZE: '1' },
      stdio: 'pipe',
    });
    let said = '';
    child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
    const ended = once(child, 'close');
    while (!said.includes('"threads"')) {
      if (child.exitCode !== null) throw new Error(`the driver ended with ${child.exitCode}: ${said}`);
      await Promise.race([once(child.stdout, 'data'), ended]);
    }
    const { threads } = JSON.parse(said.slice(said.indexOf('{"threads"')).split('\n')[0] ?? '') as {
      threads: [string, string][];
    };
    return { child, ended, threads: new Map(threads), said: () => said };
  }

  /** Resolves once strace is there, with a promise of its end. */
  async #attach(args: readonly string[], calls: readonly string[]): Promise<{ readonly ended: Promise<unknown> }> {
    // A name that this machine does not know is passed over (?).
    const trace = `trace=${calls.map((call) => `?${call}`).join(',')}`;
    const strace = spawn('strace', ['-e', trace, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
    const ended = once(strace, 'close');
    let said = '';
    strace.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
    while (!said.includes('attached')) {
      if (strace.exitCode !== null) throw new Error(`strace: ${said}`);
      await Promise.race([once(strace.stderr, 'data'), ended]);
    }
    return { ended };
  }

  /** Lets the driver go on; its exit code, null when it was killed. */
  async #go(run: Run, directory: string, scene: Scene): Promise<number | null> {
    if (scene === 'publish') await upload(directory, 3, join(this.#base, 'fixture/uploads'));
    run.child.stdin?.on('error', () => {});
    run.child.stdin?.end('go\n');
    const timer = setTimeout(() => run.child.kill('SIGTERM'), 30_000);
    await run.ended;
    clearTimeout(timer);
    return run.child.exitCode;
  }
}

interface Run {
  readonly child: ChildProcess;
  readonly ended: Promise<unknown>;
  readonly threads: ReadonlyMap<string, string>;
  readonly said: () => string;
}

const copying = { recursive: true, preserveTimestamps: true, verbatimSymlinks: true };

/**
 * Whether somebody must hear of it. The main thread's writes are SQLite's: a commit that fails throws, but a checkpoint that
 * fails is silent, because the log still has everything.
 */
function mustBeSaid({ thread, call }: Point): boolean {
  return changing.includes(call) && thread !== 'MainThread';
}

/** `count` of the points, picked by chance. */
export function choose(points: readonly Point[], count: number, random: () => number): Point[] {
  return points
    .map((point) => ({ point, at: random() }))
    .sort((a, b) => a.at - b.at)
    .slice(0, count)
    .map(({ point }) => point);
}
