/** One push to a mirror: packages, then indexes, then prune; and what it takes to know whether one is due. */
import { join, posix } from 'node:path';
import { traceFile } from '../store/trace.ts';
import type { Lease } from '../publish/ports.ts';
import type { IndexRow } from '../store/generations.ts';
import { diskFiles } from '../system/files.ts';
import { MirrorFence } from './fence-check.ts';
import { filesOf, indexFilesOf, isOursToRemove, planComparison, refuseDamaged, splitReplacing } from './plan.ts';
import type { PushDeps, PushPort } from './ports.ts';
import { ProgressMeter, type PushProgress } from './push-progress.ts';
import { MirrorRecall } from './recall.ts';
import { checkWith, listIfAllowed, MirrorTidy, unlessRefused } from './tidy.ts';
import type { PushFile, Transport, Wave } from './transport.ts';

/** Files that one comparison removes at most, the next one finds the rest; and that it keeps back until the indexes go. */
const rememberedFiles = 50_000;

export class MirrorPush implements PushPort {
  readonly transport: Transport;
  readonly #name: string;
  readonly #deps: PushDeps;
  readonly #recall: MirrorRecall;
  readonly #tidy: MirrorTidy;
  readonly #fence: MirrorFence;
  readonly #meter = new ProgressMeter();
  #forced = false;

  constructor(name: string, transport: Transport, deps: PushDeps) {
    this.#name = name;
    this.transport = transport;
    this.#deps = deps;
    this.#recall = new MirrorRecall(name, transport, deps);
    this.#fence = new MirrorFence(name, transport, deps);
    this.#tidy = new MirrorTidy(name, transport, deps, () => this.#fence.isShared);
  }

  get progress(): PushProgress | null {
    return this.#meter.now;
  }

  isDue(): boolean {
    const { generations, mirrors } = this.#deps.store;
    const current = generations.current();
    if (!current) return false;
    const row = mirrors.get(this.#name);
    if (this.#recall.isDue()) return true;
    if (row.confirmed !== current.number) return row.staged !== current.number || !this.#mustWait(current.number);
    if (this.#deps.prunes === false) return false;
    const untilMs = this.#deps.clock.now() - this.#deps.graceMs;
    return generations.expired({ sinceMs: row.prunedUntilMs, untilMs, at: current.number }, 0).paths.length > 0;
  }

  async check(signal: AbortSignal): Promise<void> {
    await checkWith(this.transport, { signal });
  }

  /** On a shared mirror what only another primary knew may go too. */
  force(wanted: boolean): void {
    this.#forced = wanted;
    this.#fence.force(wanted);
  }

  requireOurs(signal: AbortSignal): Promise<void> {
    return this.#fence.check(signal, { traceOnly: true });
  }

  close(): Promise<void> {
    return this.transport.close();
  }

  async push(signal: AbortSignal): Promise<number | null> {
    const { store } = this.#deps;
    // What is said while a push runs is for the next one, which that one's end must not make look needless.
    const forced = this.#forced;
    if (forced && this.#fence.isShared) store.mirrors.doubt(this.#name);
    const { confirmed: from, staged } = store.mirrors.get(this.#name);
    const first = this.#deps.lease();
    if (!first) return null;
    let lease = first;
    try {
      // First, and by itself: what was recalled goes whatever else the mirror holds, and not every transport does two things at once.
      await this.#recall.apply(signal);
      const gate = this.#fence.check(signal);
      // A push that fails before it comes to the indexes has nobody who listens.
      gate.catch(() => {});
      if (from === null || !this.transport.readsBeside) await gate;
      const waits = this.#mustWait(lease.generation);
      let [strangers, packages]: [readonly string[], Wave] = [[], []];
      if (from === null) ({ strangers, replacing: packages } = await this.#compare(lease, signal));
      else if (waits) await this.#stage(lease, from, staged ?? from, signal);
      if (waits) {
        await gate;
        this.#deps.together?.staged(lease.generation);
        if (this.#mustWait(lease.generation)) return null;
      }
      const there = store.mirrors.get(this.#name).staged ?? from;
      if (from !== null) packages = await this.#putPackages(lease, from, signal, there ?? from);
      // While packages were on their way a newer generation may have come out: go on to it, the indexes go once.
      for (;;) {
        const [older, newer]: [Lease, Lease] = [lease, this.#lease()];
        // What may be shown is not exchanged for what has to wait.
        if (newer.generation === older.generation || this.#mustWait(newer.generation)) {
          newer.release();
          break;
        }
        try {
          await this.#put(older, [packages], signal);
        } finally {
          older.release();
          lease = newer;
        }
        packages = await this.#putPackages(lease, older.generation, signal);
      }
      const indexes = await this.#indexes(lease, from ?? 0);
      await this.#put(lease, [packages, indexes], signal, gate);
      const hasLeft = await this.#removeIndexes(lease, from, signal);
      // Before the mirror is known to be in step: only a push from the same start finds these again.
      const { mayRemove, removed } = await this.#tidy.run(strangers, lease.generation, signal);
      // The trace once more: over sftp and rsync, only the sync at the end of a put makes removals durable.
      if (hasLeft || removed) {
        // Removing takes its time, in which another primary may have put a newer one.
        await this.#fence.check(signal, { traceOnly: true });
        await this.#put(lease, [indexes.slice(-1)], signal);
      }
      store.mirrors.confirm(this.#name, lease.generation, this.#deps.clock.now());
      this.#recall.record();
      if (forced) this.force(false);
      this.#deps.events.confirmed(lease.generation);
      await this.#tidy.prune(lease.generation, mayRemove && this.#deps.prunes !== false, signal);
      return lease.generation;
    } catch (error) {
      this.#tidy.cutOff();
      throw error;
    } finally {
      this.#meter.end();
      lease.release();
    }
  }

  /** The indexes of `generation` have to wait for the other mirrors; never when something is recalled, which must go. */
  #mustWait(generation: number): boolean {
    const { together } = this.#deps;
    return together !== undefined && !together.mayShow(generation) && !this.#recall.isDue();
  }

  /** Puts the packages of the generation that no index there contradicts; those of `since` are there. */
  async #stage(lease: Lease, from: number, since: number, signal: AbortSignal): Promise<void> {
    const { generations } = this.#deps.store;
    for (const page of generations.packagesForMirror(from, lease.generation, { since, staging: true })) {
      const files = filesOf(page.filter(({ repository }) => this.#deps.takes(repository)));
      if (files.length > 0) await this.#put(lease, [files], signal);
    }
  }

  #lease(): Lease {
    const lease = this.#deps.lease();
    if (!lease) throw new RangeError('a push before the first generation');
    return lease;
  }

  /** Puts the packages but for the last page, which is returned: it travels with the indexes. */
  async #putPackages(lease: Lease, from: number, signal: AbortSignal, since = from): Promise<Wave> {
    let last: Wave = [];
    let pages = 0;
    try {
      for (const page of this.#deps.store.generations.packagesForMirror(from, lease.generation, { since })) {
        if (last.length > 0) {
          await this.#put(lease, [last], signal);
          pages++;
        }
        last = filesOf(page.filter(({ repository }) => this.#deps.takes(repository)));
      }
      return last;
    } catch (error) {
      // So much went out that it is cheaper to look what arrived than to send it again.
      if (pages > 0) this.#deps.store.mirrors.doubt(this.#name);
      throw error;
    }
  }

  async #indexes(lease: Lease, from: number): Promise<Wave> {
    const indexes = this.#indexesAt(lease.generation).filter((index) => index.since > from);
    const { size, mtimeMs } = await (this.#deps.files ?? diskFiles).stat(join(lease.directory, traceFile));
    const trace: PushFile = { path: traceFile, size, mtimeSeconds: Math.floor(mtimeMs / 1000) };
    return [...indexFilesOf(indexes), trace];
  }

  /** Indexes that left go at once, long before the packages that they name. False when nothing was removed. */
  async #removeIndexes(lease: Lease, from: number | null, signal: AbortSignal): Promise<boolean> {
    const gone = this.#deps.store.generations.indexesLeft(from, lease.generation);
    const left = gone.filter((path) => this.#deps.takes(posix.dirname(path)));
    if (left.length === 0) return false;
    signal.throwIfAborted();
    this.#tidy.willTouch(left);
    return unlessRefused(this.#name, this.#deps.log, () => this.transport.remove(left, { signal }));
  }

  /**
   * What the mirror holds is not known: look at every repository once and send what differs. Returns what nothing needs:
   * to be removed only when the indexes that may still name it are replaced, and what takes the place of other bytes, which
   * those indexes may name too: it travels with the new ones.
   */
  async #compare(lease: Lease, signal: AbortSignal): Promise<{ strangers: string[]; replacing: Wave }> {
    const { generations } = this.#deps.store;
    const [strangers, replacing]: [string[], PushFile[]] = [[], []];
    const keepAfterMs = this.#deps.clock.now() - this.#deps.graceMs;
    const repositories = new Set(this.#indexesAt(lease.generation).map((index) => index.repository));
    this.#meter.begin(totalOf(generations, repositories, lease.generation), this.#deps.clock.now());
    for (const repository of repositories) {
      signal.throwIfAborted();
      const remote = await listIfAllowed(this.transport, repository, signal);
      for (const page of generations.packagesOf(repository, lease.generation)) {
        const files = filesOf(page);
        const differing = planComparison(files, remote);
        const { now, later } = splitReplacing(differing, remote, rememberedFiles - replacing.length);
        if (now.length > 0) await this.#put(lease, [now], signal);
        replacing.push(...later);
        this.#meter.there(files);
      }
      // A package that only another primary knows may be about to be named by its index: it is that one's to remove.
      const removes = !this.#fence.isShared || this.#forced;
      for (const name of removes ? remote.keys() : []) {
        if (strangers.length >= rememberedFiles) break;
        if (isOursToRemove(name) && !generations.isWanted(repository, name, lease.generation, keepAfterMs))
          strangers.push(`${repository}/${name}`);
      }
    }
    return { strangers, replacing };
  }

  #indexesAt(generation: number): IndexRow[] {
    return this.#deps.store.generations.indexesAt(generation).filter(({ repository }) => this.#deps.takes(repository));
  }

  async #put(lease: Lease, waves: readonly Wave[], signal: AbortSignal, gate?: Promise<void>): Promise<void> {
    signal.throwIfAborted();
    refuseDamaged(waves, this.#deps.store.damage.withheld());
    this.#tidy.willTouch(waves.flatMap((wave) => wave.map(({ path }) => path)));
    const onBytes = (count: number): void => {
      this.#meter.sent(count);
      this.#deps.events.bytes(count);
    };
    await this.transport.put(lease.directory, waves, { signal, onBytes, ...(gate && { gate }) });
  }
}

function totalOf(
  generations: PushDeps['store']['generations'],
  repositories: ReadonlySet<string>,
  generation: number,
): { readonly packages: number; readonly bytes: number } {
  const total = { packages: 0, bytes: 0 };
  for (const repository of repositories) {
    const { packages, bytes } = generations.sizeOf(repository, generation);
    total.packages += packages;
    total.bytes += bytes;
  }
  return total;
}
