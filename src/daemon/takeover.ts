/** Serves a mirror in place of its first primary while that does not: asks what probes saw, remembers the answer, tells the worker. */
import { parseTrace, traceFile } from '../store/trace.ts';
import { isNamesake, namesakeHint } from '../replicate/namesake.ts';
import { nextTakeover } from '../replicate/takeover.ts';
import type { Store } from '../store/store.ts';
import type { Clock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';

export interface TakeoverDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  readonly afterMs: number;
  /** Our own name in trace files. */
  readonly primary: string;
  /** A file of the mirror as its users get it; null: none, or no answer. */
  readonly read: (path: string, signal: AbortSignal) => Promise<Buffer | null>;
  /** When the first generation came out that users of the mirror lack; null: they lack nothing. */
  readonly missingSinceMs: () => number | null;
  /** The worker may push now. */
  readonly onTakeover: () => void;
}

export class Takeover {
  readonly #mirror: string;
  readonly #deps: TakeoverDeps;
  /** Of the generation that came out at `sinceMs`: for how long users had lacked it at `atMs` of the monotonic clock. */
  #lack: { readonly sinceMs: number; readonly forMs: number; readonly atMs: number } | null = null;

  #namesakeTold = false;

  constructor(mirror: string, deps: TakeoverDeps) {
    this.#mirror = mirror;
    this.#deps = deps;
  }

  get isOurs(): boolean {
    return this.#deps.store.mirrors.get(this.#mirror).takenOverAtMs !== null;
  }

  /** After an answered probe, whose result is in the store. */
  async look(signal: AbortSignal): Promise<void> {
    const { store, clock, log, afterMs, onTakeover } = this.#deps;
    const { takenOverAtMs, unknownContent, ahead, observed } = store.mirrors.get(this.#mirror);
    // Whoever put what nobody knows there, the operator is told; it says nothing about the other primary.
    if (unknownContent || observed === null) return;
    const writer = takenOverAtMs === null ? null : await this.#writer(signal);
    const byAnother = ahead || (writer !== null && !writer.isOurs);
    const missingForMs = this.#missingForMs();
    const next = nextTakeover({ takenOverAtMs }, { missingForMs, byAnother }, afterMs, clock.now());
    if (next.takenOverAtMs === takenOverAtMs) return;
    store.mirrors.takenOver(this.#mirror, next.takenOverAtMs);
    if (next.takenOverAtMs === null) {
      log.info('mirror_given_back', { mirror: this.#mirror, primary: writer?.name });
      return;
    }
    // Whatever was seen there, only a comparison knows which packages there are.
    store.mirrors.doubt(this.#mirror);
    const lagSeconds = Math.round((missingForMs ?? 0) / 1000);
    log.warn('mirror_taken_over', { mirror: this.#mirror, lag_seconds: lagSeconds, after_seconds: afterMs / 1000 });
    onTakeover();
  }

  /** The wall clock is asked once for each generation that is lacking: when it is set later, nothing comes sooner or later. */
  #missingForMs(): number | null {
    const { clock, missingSinceMs } = this.#deps;
    const sinceMs = missingSinceMs();
    const atMs = clock.monotonic();
    if (sinceMs === null) this.#lack = null;
    else if (this.#lack?.sinceMs !== sinceMs) this.#lack = { sinceMs, forMs: Math.max(0, clock.now() - sinceMs), atMs };
    return this.#lack && this.#lack.forMs + atMs - this.#lack.atMs;
  }

  /** Who has pushed last, by the trace that users get; null: it does not say. */
  async #writer(signal: AbortSignal): Promise<{ readonly name: string; readonly isOurs: boolean } | null> {
    const { log, primary, read, store } = this.#deps;
    const bytes = await read(traceFile, signal);
    const trace = bytes === null ? null : parseTrace(bytes.toString('utf8'));
    if (trace === null || trace.primary === null) return null;
    const publishedAtOf = (number: number): number | null => store.generations.publishedAtExactly(number);
    const namesake = isNamesake(trace, { primary, publishedAtOf });
    if (namesake && !this.#namesakeTold)
      log.error('primary_name_taken', { mirror: this.#mirror, primary, hint: namesakeHint });
    this.#namesakeTold = namesake;
    return { name: trace.primary, isOurs: trace.primary === primary && !namesake };
  }
}
