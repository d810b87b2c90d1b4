/** Brings one mirror to the newest generation, again and again: packages, then indexes, then prune. One worker per mirror; none waits for another. */
import { stat } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { TransportError } from '../errors.ts';
import { traceFile } from '../publish/plan.ts';
import type { Lease } from '../publish/ports.ts';
import { Wake } from '../system/limit.ts';
import { Errands } from './errands.ts';
import { type Failure, failureOf, type MirrorPhase, nextPhase } from './mirror.ts';
import {
  filesOf,
  indexFilesOf,
  isOursToRemove,
  leftOverIn,
  planComparison,
  refuseDamaged,
  splitReplacing,
} from './plan.ts';
import type { WorkerDeps } from './ports.ts';
import { MirrorRecall } from './recall.ts';
import { retryTransient } from './retry.ts';
import type { PushFile, RemoteFile, Transport, Wave } from './transport.ts';

/** A prune that is due is looked for this often when nothing else happens. */
const idleMs = 10 * 60_000;
const triesInAPush = 2;
/** Files that one comparison removes at most, the next one finds the rest; and that it keeps back until the indexes go. */
const rememberedFiles = 50_000;

export class MirrorWorker {
  readonly name: string;
  readonly #transport: Transport;
  readonly #deps: WorkerDeps;
  readonly #recall: MirrorRecall;
  readonly #wake = new Wake();
  #phase: MirrorPhase = { phase: 'idle' };
  /** A push may have been cut off and have left temporary files: the last one of this process, or of the one before. */
  #cutOff = true;
  /** Directories that were written to since the last push that ended well. */
  readonly #written = new Set<string>();
  /** When to try again, on the monotonic clock: a corrected wall clock must not stretch the wait. */
  #retryAt = 0;
  #pushNow = false;
  #draining = false;
  #attempts = 0;
  readonly #errands = new Errands();

  constructor(name: string, transport: Transport, deps: WorkerDeps) {
    this.name = name;
    this.#transport = transport;
    this.#deps = deps;
    this.#recall = new MirrorRecall(name, transport, deps);
  }

  get phase(): MirrorPhase {
    return this.#phase;
  }

  /** Pushes that were begun. */
  get attempts(): number {
    return this.#attempts;
  }

  /** Runs `work` on the mirror when no push is due, before the next one: that waits for it. Never settles when the worker ends first. */
  errand<T>(work: (transport: Transport, signal: AbortSignal) => Promise<T>): Promise<T> {
    const done = this.#errands.add(work);
    this.#wake.wake();
    return done;
  }

  /** A new generation may be out. */
  wake(): void {
    this.#wake.wake();
  }

  /** An operator wants a push now, whatever the worker waits for. */
  pushNow(): void {
    this.#pushNow = true;
    this.#wake.wake();
  }

  /** Finish the push in hand, take no other: `run` then returns. */
  drain(): void {
    this.#draining = true;
    this.#wake.wake();
  }

  /** Runs until drained or aborted; failures of the mirror are its state, never an exception. */
  async run(signal: AbortSignal): Promise<void> {
    try {
      while (!this.#draining) {
        signal.throwIfAborted();
        const restMs = this.#restMs();
        if (restMs > 0) {
          if (this.#phase.phase === 'idle' && (await this.#errands.next(this.#transport, signal))) continue;
          await this.#wake.wait((stop) => this.#deps.clock.sleep(restMs, { signal: AbortSignal.any([signal, stop]) }));
          continue;
        }
        this.#pushNow = false;
        await this.#attempt(signal);
      }
    } finally {
      await (this.#deps.pusher ?? this.#transport).close();
    }
  }

  /** How long there is nothing to do; 0: push now. */
  #restMs(): number {
    if (this.#pushNow) return 0;
    const phase = this.#phase;
    if (phase.phase === 'waiting' || phase.phase === 'blocked')
      return Math.max(0, this.#retryAt - this.#deps.clock.monotonic());
    return (this.#deps.pusher?.isDue() ?? this.#isDue()) ? 0 : idleMs;
  }

  #isDue(): boolean {
    const { generations, mirrors } = this.#deps.store;
    const current = generations.current();
    if (!current) return false;
    const row = mirrors.get(this.name);
    if (row.confirmed !== current.number || this.#recall.isDue()) return true;
    const untilMs = this.#deps.clock.now() - this.#deps.graceMs;
    return generations.expired({ sinceMs: row.prunedUntilMs, untilMs, at: current.number }, 0).paths.length > 0;
  }

  async #attempt(signal: AbortSignal): Promise<void> {
    const { clock, events, log } = this.#deps;
    this.#attempts++;
    this.#phase = nextPhase(this.#phase, { kind: 'started' });
    const startedAt = clock.monotonic();
    try {
      const generation = await retryTransient(() => this.#deps.pusher?.push(signal) ?? this.#push(signal), {
        // A pusher's own waiting is long enough.
        retries: this.#deps.pusher ? 0 : triesInAPush,
        minDelayMs: 1000,
        signal,
        onRetry: (error) => {
          const failure = failureOf(error);
          this.#phase = nextPhase(this.#phase, { kind: 'retried', failure });
          events.attempt('retryable');
          events.failed(failure.reason);
          log.info('push_retried', { mirror: this.name, reason: failure.reason, detail: failure.message });
        },
      });
      this.#phase = nextPhase(this.#phase, { kind: 'succeeded' });
      events.attempt('ok');
      log.info('mirror_in_step', { mirror: this.name, generation, seconds: (clock.monotonic() - startedAt) / 1000 });
    } catch (error) {
      if (signal.aborted) {
        events.attempt('aborted');
        throw error;
      }
      this.#fail(failureOf(error));
    }
  }

  #fail(failure: Failure): void {
    const { clock, events, log, random } = this.#deps;
    const nowMs = clock.now();
    this.#phase = nextPhase(this.#phase, { kind: 'failed', failure, nowMs, random: random() });
    const blocked = this.#phase.phase === 'blocked';
    events.attempt(blocked ? 'permanent' : 'retryable');
    events.failed(failure.reason);
    const waitMs = 'untilMs' in this.#phase ? this.#phase.untilMs - nowMs : 0;
    this.#retryAt = clock.monotonic() + waitMs;
    log[blocked ? 'error' : 'warn'](blocked ? 'mirror_blocked' : 'push_failed', {
      mirror: this.name,
      reason: failure.reason,
      detail: failure.message,
      next_try_seconds: Math.round(waitMs / 1000),
    });
  }

  /** One whole push; returns the generation that the mirror now holds. Whatever was done is not done again by the next one. */
  async #push(signal: AbortSignal): Promise<number> {
    const { store } = this.#deps;
    const from = store.mirrors.get(this.name).confirmed;
    let lease = this.#lease();
    try {
      await this.#recall.apply(signal);
      let [strangers, packages]: [readonly string[], Wave] = [[], []];
      if (from === null) ({ strangers, replacing: packages } = await this.#compare(lease, signal));
      else packages = await this.#putPackages(lease, from, signal);
      // While packages were on their way a newer generation may have come out: go on to it, the indexes go once.
      for (;;) {
        const [older, newer] = [lease, this.#lease()];
        if (newer.generation === older.generation) {
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
      await this.#put(lease, [packages, await this.#indexes(lease, from ?? 0)], signal);
      await this.#removeIndexes(lease, from, signal);
      store.mirrors.confirm(this.name, lease.generation, this.#deps.clock.now());
      this.#deps.events.confirmed(lease.generation);
      await this.#tidy(strangers, lease.generation, signal);
      this.#written.clear();
      return lease.generation;
    } catch (error) {
      this.#cutOff = true;
      throw error;
    } finally {
      lease.release();
    }
  }

  #lease(): Lease {
    const lease = this.#deps.lease();
    if (!lease) throw new RangeError('a push before the first generation');
    return lease;
  }

  /** Puts the packages but for the last page, which is returned: it travels with the indexes. */
  async #putPackages(lease: Lease, from: number, signal: AbortSignal): Promise<Wave> {
    let last: Wave = [];
    let pages = 0;
    try {
      for (const page of this.#deps.store.generations.packagesForMirror(from, lease.generation)) {
        if (last.length > 0) {
          await this.#put(lease, [last], signal);
          pages++;
        }
        last = filesOf(page);
      }
      return last;
    } catch (error) {
      // So much went out that it is cheaper to look what arrived than to send it again.
      if (pages > 0) this.#deps.store.mirrors.doubt(this.name);
      throw error;
    }
  }

  async #indexes(lease: Lease, from: number): Promise<Wave> {
    const indexes = this.#deps.store.generations.indexesAt(lease.generation).filter((index) => index.since > from);
    const { size, mtimeMs } = await stat(join(lease.directory, traceFile));
    const trace: PushFile = { path: traceFile, size, mtimeSeconds: Math.floor(mtimeMs / 1000) };
    return [...indexFilesOf(indexes), trace];
  }

  /** Indexes that left go at once, long before the packages that they name. */
  async #removeIndexes(lease: Lease, from: number | null, signal: AbortSignal): Promise<void> {
    const left = this.#deps.store.generations.indexesLeft(from, lease.generation);
    if (left.length === 0) return;
    signal.throwIfAborted();
    await this.#unlessRefused(() => this.#transport.remove(left, { signal }));
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
    const repositories = new Set(generations.indexesAt(lease.generation).map((index) => index.repository));
    for (const repository of repositories) {
      signal.throwIfAborted();
      const remote = await this.#list(repository, signal);
      for (const page of generations.packagesOf(repository, lease.generation)) {
        const differing = planComparison(filesOf(page), remote);
        const { now, later } = splitReplacing(differing, remote, rememberedFiles - replacing.length);
        if (now.length > 0) await this.#put(lease, [now], signal);
        replacing.push(...later);
      }
      for (const name of remote.keys()) {
        if (strangers.length >= rememberedFiles) break;
        if (isOursToRemove(name) && !generations.isWanted(repository, name, lease.generation, keepAfterMs))
          strangers.push(`${repository}/${name}`);
      }
    }
    return { strangers, replacing };
  }

  /** An account that may only write cannot be looked at: everything is put, and the transport leaves out what is there. */
  async #list(repository: string, signal: AbortSignal): Promise<ReadonlyMap<string, RemoteFile>> {
    try {
      return await this.#transport.list(repository, { signal });
    } catch (error) {
      if (error instanceof TransportError && error.reason === 'option_refused') return new Map();
      throw error;
    }
  }

  /** Removes what nothing needs. */
  async #tidy(strangers: readonly string[], generation: number, signal: AbortSignal): Promise<void> {
    const done = await this.#unlessRefused(async () => {
      // A newer generation that was taken along may want what the compared one did not.
      const keepAfterMs = this.#deps.clock.now() - this.#deps.graceMs;
      const unwanted = strangers.filter((path) => {
        const { generations } = this.#deps.store;
        return !generations.isWanted(posix.dirname(path), posix.basename(path), generation, keepAfterMs);
      });
      const leftOver = this.#cutOff ? await this.#leftOver(signal) : [];
      const gone = [...unwanted, ...leftOver.filter((path) => !unwanted.includes(path))];
      if (gone.length > 0) await this.#transport.remove(gone, { signal });
      this.#cutOff = false;
      await this.#prune(generation, signal);
    });
    if (!done) this.#deps.store.mirrors.pruned(this.name, this.#deps.clock.now() - this.#deps.graceMs);
  }

  /** An account that may not delete keeps what nothing needs: its mirror is in step all the same. False when it was refused. */
  async #unlessRefused(remove: () => Promise<void>): Promise<boolean> {
    try {
      await remove();
      return true;
    } catch (error) {
      if (!(error instanceof TransportError) || error.reason !== 'option_refused') throw error;
      this.#deps.log.warn('prune_refused', { mirror: this.name, detail: error.message });
      return false;
    }
  }

  /** Temporary files where this push and those that failed before it have written. */
  async #leftOver(signal: AbortSignal): Promise<string[]> {
    const found: string[] = [];
    for (const directory of this.#written) {
      signal.throwIfAborted();
      found.push(...leftOverIn(directory, (await this.#list(directory, signal)).keys()));
    }
    return found;
  }

  /** `generation` is what the mirror serves: what a newer one takes away stays until that one has come. */
  async #prune(generation: number, signal: AbortSignal): Promise<void> {
    const { generations, mirrors } = this.#deps.store;
    const graceEnd = this.#deps.clock.now() - this.#deps.graceMs;
    const untilMs = Math.min(graceEnd, generations.pruneLimit(generation) ?? graceEnd);
    const expiry = { sinceMs: mirrors.get(this.name).prunedUntilMs, untilMs, at: generation };
    let removed = 0;
    let after: number | null = 0;
    while (after !== null) {
      const page = generations.expired(expiry, after);
      if (page.paths.length > 0) await this.#transport.remove(page.paths, { signal });
      removed += page.paths.length;
      after = page.next;
    }
    // Each write is synced: none when there was nothing.
    if (removed > 0) mirrors.pruned(this.name, untilMs);
  }

  async #put(lease: Lease, waves: readonly Wave[], signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    refuseDamaged(waves, this.#deps.store.damage.withheld());
    for (const wave of waves) for (const { path } of wave) this.#written.add(posix.dirname(path));
    await this.#transport.put(lease.directory, waves, { signal, onBytes: (count) => this.#deps.events.bytes(count) });
  }
}
