/** A primary on the disk, a simulated mirror, and the real worker between them, which is cut off and started again. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Transport } from '../../src/replicate/transport.ts';
import { MirrorPush } from '../../src/replicate/push.ts';
import { MirrorWorker } from '../../src/replicate/worker.ts';
import type { Clock } from '../../src/system/clock.ts';
import { silentLog } from '../../src/system/log.ts';
import { type Content, expectedFiles, graceMs, PublishWorld } from '../publish/world.ts';
import type { Image } from '../support/sim-image.ts';
import { type Fate, mirrorRoot, type Process, type SimMirror } from '../support/sim-mirror.ts';

export type Repositories = Readonly<Record<string, Content>>;
type Connect = (mirror: SimMirror, process: Process, clock: Clock) => Transport;

/** The primary is whole all the time: its syncs need not wait for a disk. */
const inMemory = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
const indexName = 'APKINDEX.tar.gz';
const mirrorName = 'sim';
/** A worker tries at most once a second. */
const betweenPushesMs = 2000;
const recalledBy = { who: 'alice', why: 'leaked', atMs: 1 };

export interface Cut {
  readonly changes: number;
  readonly fate: Fate;
}

interface Running {
  readonly state: Process;
  readonly worker: MirrorWorker;
  readonly end: () => Promise<void>;
}

export class MirrorWorld implements AsyncDisposable {
  readonly primary: PublishWorld;
  readonly mirror: SimMirror;
  /** What each generation serves. */
  readonly #served: Repositories[] = [{}];
  readonly #expected = new Map<Content, Readonly<Record<string, string>>>();
  readonly #recalled = new Set<string>();
  /** The same bytes are refused in every repository. */
  readonly #refused = new Set<string>();
  readonly #directory: string;
  readonly #connect: Connect;
  #process: Running | null = null;
  #outcome: string | null = null;
  #pushes = 0;
  #reason: string | null = null;
  /** Called when the worker has nothing more to do. */
  #rest: () => void = () => {};

  private constructor(directory: string, mirror: SimMirror, connect: Connect) {
    this.#directory = directory;
    this.mirror = mirror;
    this.#connect = connect;
    this.primary = new PublishWorld(directory);
    this.primary.mirrors = [mirrorName];
    this.primary.store.mirrors.open(mirrorName, 'a simulated disk');
    mirror.onCut = (fate) => {
      if (fate === 'kill' && this.#process) this.#process.state.dead = true;
      if (fate === 'kill') void this.#process?.end();
    };
  }

  static async create(mirror: SimMirror, connect: Connect): Promise<MirrorWorld> {
    const world = new MirrorWorld(mkdtempSync(join(inMemory, 'lockstepd-sim-mirror-')), mirror, connect);
    await world.primary.publisher.recover();
    return world;
  }

  async publish(repositories: Repositories): Promise<void> {
    const allowed = Object.entries(repositories).map(([repository, content]) => {
      const kept = Object.entries(content).filter(([key]) => !this.#refused.has(key));
      return [repository, Object.fromEntries(kept)] as const;
    });
    await this.primary.publish(Object.fromEntries(allowed));
    this.#served.push({ ...this.#served.at(-1), ...Object.fromEntries(allowed) });
  }

  /** The index of a repository leaves; false when it is not there, or the only one. */
  async leave(repository: string): Promise<boolean> {
    const { [repository]: gone, ...left } = this.#served.at(-1) ?? {};
    const row = this.primary.store.generations.indexOf(repository, indexName);
    if (gone === undefined || row === null || Object.keys(left).length === 0) return false;
    const removal = { repository, file: indexName, base: row.since } as const;
    await this.primary.publisher.publish(this.primary.batch([], [removal]));
    this.#served.push(left);
    return true;
  }

  /** Takes a package of `repository` back; false when it has none. */
  async recall(repository: string): Promise<boolean> {
    const [key] = Object.keys(this.#served.at(-1)?.[repository] ?? {});
    if (key === undefined) return false;
    const path = pathOf(repository, key);
    const { recalls } = this.primary.store;
    this.#recalled.add(path);
    this.#refused.add(key);
    recalls.add({ asked: path, ...recalledBy }, recalls.find(path, 9));
    await this.primary.publisher.recall();
    return true;
  }

  /** Pushes once; the outcome as the worker tells it. */
  async push(cut: Cut | null = null): Promise<string> {
    this.mirror.powerOn();
    if (this.#process?.state.dead) this.#process = null;
    this.#process ??= this.#start();
    if (cut) this.mirror.planCut(cut.changes, cut.fate);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#outcome = null;
    this.#reason = null;
    this.#pushes++;
    this.#rest = resolve;
    this.#process.worker.pushNow();
    await promise;
    if (this.#process.state.dead) await this.#process.end();
    this.mirror.dropCut();
    return String(this.#outcome);
  }

  /** The last push ended early because the mirror had lost what it was confirmed to hold. */
  get drifted(): boolean {
    return this.#reason === 'drifted';
  }

  /** Ends the process in peace, between two pushes. */
  async endProcess(): Promise<void> {
    await this.#process?.end();
    this.#process = null;
  }

  /** The generation that the mirror was confirmed to serve. */
  get promised(): number {
    return this.primary.store.mirrors.get(mirrorName).serves ?? 0;
  }

  /** What readers of `image` would find wrong: an index that names what is not there, or an older one than was confirmed. */
  violation(image: Image): string | null {
    const files = image.filesBelow(mirrorRoot);
    const allowed = this.#served.slice(this.promised);
    const repositories = new Set(this.#served.flatMap((one) => Object.keys(one)));
    for (const repository of repositories) {
      const text = files.get(`${repository}/${indexName}`);
      const serving = allowed.find((one) => this.#textOf(repository, one[repository]) === text);
      if (serving === undefined) {
        const shown = text === undefined ? 'absent' : JSON.stringify(text.slice(0, 60));
        return `${repository}: the index is ${shown}, generation ${this.promised} was confirmed`;
      }
      const content = serving[repository];
      if (content === undefined) continue;
      for (const [path, bytes] of Object.entries(this.#filesOf(repository, content))) {
        const there = files.get(path);
        if (there !== bytes && !(there === undefined && this.#recalled.has(path)))
          return `${path} is ${there === undefined ? 'absent' : JSON.stringify(there)}`;
      }
    }
    return null;
  }

  #textOf(repository: string, content: Content | undefined): string | undefined {
    return content && this.#filesOf(repository, content)[`${repository}/${indexName}`];
  }

  #filesOf(repository: string, content: Content): Readonly<Record<string, string>> {
    const known = this.#expected.get(content) ?? expectedFiles({ [repository]: content });
    this.#expected.set(content, known);
    return known;
  }

  /** What a mirror in step must not hold: temporary files, recalled packages, and with `exact` anything that the primary has not. */
  surplus(image: Image, exact: boolean): string[] {
    const ours = exact ? this.primary.files() : null;
    return [...image.filesBelow(mirrorRoot).keys()].filter(
      (path) => path.includes('.lockstepd-') || this.#recalled.has(path) || (ours !== null && !(path in ours)),
    );
  }

  /** So much time that everything that left is over its grace. */
  passGrace(): void {
    this.primary.clock.nowMs += graceMs + 1;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.endProcess();
    await this.primary.publisher.stop();
    this.primary[Symbol.dispose]();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #start(): Running {
    const { store, publisher, clock: standing } = this.primary;
    const still: Clock = { ...standing, sleep: (_ms, options) => untilAborted(options?.signal) };
    const clock: Clock = {
      ...still,
      now: () => standing.nowMs,
      monotonic: () => this.#pushes * betweenPushesMs,
      sleep: (ms, options) => {
        if (this.#outcome !== null) this.#rest();
        return still.sleep(ms, options);
      },
    };
    const state: Process = { dead: false };
    const stop = new AbortController();
    const push = new MirrorPush(mirrorName, this.#connect(this.mirror, state, still), {
      store,
      lease: () => publisher.lease(),
      graceMs,
      takes: () => true,
      clock,
      log: silentLog,
      events: { bytes: () => {}, confirmed: () => {} },
    });
    const worker = new MirrorWorker(mirrorName, push, {
      clock,
      random: () => 0,
      log: silentLog,
      // Each process begins without memory: what it waited for is not what is tried here.
      states: { load: () => ({ saved: null, changed: false }), save: () => {} },
      quiet: [],
      lookMs: 10 * 60_000,
      spreadMs: 0,
      events: {
        attempt: (outcome) => void (this.#outcome = outcome),
        failed: (reason) => void (this.#reason = reason),
      },
    });
    const running = worker
      .run(stop.signal)
      .catch((error: unknown) => {
        if (!stop.signal.aborted) throw error;
      })
      .finally(() => this.#rest());
    const end = async (): Promise<void> => {
      state.dead = true;
      stop.abort(new Error('killed'));
      await running;
    };
    return { state, worker, end };
  }
}

function pathOf(repository: string, key: string): string {
  return `${repository}/${key.replace('@', '-')}.apk`;
}

function untilAborted(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_resolve, reject) => {
    const stop = (): void => reject(signal?.reason as Error);
    if (signal?.aborted) stop();
    else signal?.addEventListener('abort', stop, { once: true });
  });
}
