/** A push to a mirror that pulls: tells it to, then waits until a probe has seen the generation there. Puts nothing. */
import { TransportError } from '../errors.ts';
import type { Store } from '../store/store.ts';
import type { Clock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';
import type { PushPort } from './ports.ts';
import type { TogetherPort } from './together.ts';
import { type Trigger, unreachableFiles } from './trigger.ts';

export interface TriggerPushDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  /** The mirror is not told twice within this time. */
  readonly minIntervalMs: number;
  /** What was not seen for so long after the mirror was told has failed; default 30 minutes. */
  readonly confirmMs?: number;
  /** Absent: the mirror is told of a generation at once. */
  readonly together?: Pick<TogetherPort, 'mayShow'>;
  /** Have the mirror looked at soon; what is seen is written to the store. */
  readonly probe: () => void;
}

const defaultConfirmMs = 30 * 60_000;
/** A small pull takes a second or two: looked for at once, and less and less often. */
const firstLookMs = 1000;
const longestLookMs = 30_000;
const pollMs = 200;

export class TriggerPush implements PushPort {
  readonly transport = unreachableFiles;
  readonly #mirror: string;
  readonly #trigger: Trigger;
  readonly #deps: TriggerPushDeps;
  /** When the mirror was last told, on the monotonic clock. */
  #toldAt = Number.NEGATIVE_INFINITY;

  constructor(mirror: string, trigger: Trigger, deps: TriggerPushDeps) {
    this.#mirror = mirror;
    this.#trigger = trigger;
    this.#deps = deps;
  }

  isDue(): boolean {
    const { generations, mirrors, recalls } = this.#deps.store;
    const current = generations.current();
    const row = mirrors.get(this.#mirror);
    if (current === null) return false;
    return recalls.newest() > row.recalled || (row.confirmed !== current.number && this.#mayShow(current.number));
  }

  async push(signal: AbortSignal): Promise<number> {
    const { clock, confirmMs = defaultConfirmMs, minIntervalMs, probe } = this.#deps;
    const wanted = this.#newest();
    let told = await this.#tell(signal);
    let lookMs = firstLookMs;
    let lookAt = clock.monotonic() + lookMs;
    for (;;) {
      const confirmed = this.#confirmed();
      if (confirmed !== null && confirmed >= wanted) return confirmed;
      const now = clock.monotonic();
      if (now - this.#toldAt > confirmMs) throw this.#unseen(told);
      // What came out since may find the mirror at the end of its pull: it is told again, as rarely as it wants to be.
      const newest = this.#newest();
      if (newest > told && this.#mayShow(newest) && now - this.#toldAt >= minIntervalMs) {
        told = await this.#tell(signal);
        lookMs = firstLookMs;
      }
      if (now >= lookAt) {
        probe();
        lookMs = Math.min(longestLookMs, lookMs * 2);
        lookAt = now + lookMs;
      }
      await clock.sleep(pollMs, { signal });
    }
  }

  /** To tell the mirror is as cheap as any check would be. */
  check(): Promise<void> {
    return Promise.resolve();
  }

  /** What it holds is its own matter. */
  force(): void {}

  requireOurs(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return this.#trigger.close();
  }

  /** Tells the mirror to pull; returns the generation that is then there to be pulled. */
  async #tell(signal: AbortSignal): Promise<number> {
    const { clock, log, minIntervalMs, store } = this.#deps;
    const restMs = this.#toldAt + minIntervalMs - clock.monotonic();
    if (restMs > 0) await clock.sleep(restMs, { signal });
    signal.throwIfAborted();
    const generation = this.#newest();
    const recall = store.recalls.newest();
    // A try that fails counts too: nobody is knocked at more often than that.
    this.#toldAt = clock.monotonic();
    await this.#trigger.fire(signal);
    // What was recalled is not in our trees any more, so the pull that has begun removes it.
    if (recall > store.mirrors.get(this.#mirror).recalled) store.mirrors.recalled(this.#mirror, recall);
    log.info('mirror_triggered', { mirror: this.#mirror, generation });
    return generation;
  }

  /** False while the other mirrors are not ready for it. What was recalled waits for nobody. */
  #mayShow(generation: number): boolean {
    return this.#deps.together?.mayShow(generation) ?? true;
  }

  #newest(): number {
    const current = this.#deps.store.generations.current();
    if (!current) throw new RangeError('a push before the first generation');
    return current.number;
  }

  #confirmed(): number | null {
    return this.#deps.store.mirrors.get(this.#mirror).confirmed;
  }

  #unseen(generation: number): TransportError {
    const minutes = Math.round((this.#deps.confirmMs ?? defaultConfirmMs) / 60_000);
    const message = `it was told to pull ${minutes} minutes ago and does not serve generation ${generation}: look at its log`;
    return new TransportError('timeout', 'retryable', message);
  }
}
