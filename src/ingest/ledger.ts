/** Writes down what becomes of the batches of one builder, and tells the log and the metrics when something ended. Decides nothing. */
import { createHash } from 'node:crypto';
import type { BatchState, BatchStore, Reason } from '../store/batches.ts';
import type { Clock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';
import { type Assessment, reasonsOf } from './batch.ts';

export interface LedgerDeps {
  readonly batches: BatchStore;
  readonly clock: Clock;
  readonly log: Log;
  readonly events: {
    batchEnded(builder: string, state: Exclude<BatchState, 'waiting'>, reasons: readonly Reason[]): void;
  };
}

export interface Recorded {
  readonly id: string;
  /** False when state and reasons were known already. */
  readonly changed: boolean;
}

export const reasonsKept = 500;

export class Ledger {
  readonly #builder: string;
  readonly #deps: LedgerDeps;

  constructor(builder: string, deps: LedgerDeps) {
    this.#builder = builder;
    this.#deps = deps;
  }

  record(state: BatchState, assessments: readonly Assessment[], reasons: readonly Reason[]): Recorded {
    return this.#deps.batches.record({
      key: batchKey(this.#builder, assessments),
      builder: this.#builder,
      state,
      updatedAtMs: this.#deps.clock.now(),
      repositories: assessments.map((a) => ({ path: a.repository, index: a.index, sha256: a.sha256, base: a.base })),
      reasons: bounded(reasons),
    });
  }

  /** Held or rejected, with the reasons of the assessments; told once. */
  end(state: 'held' | 'rejected', assessments: readonly Assessment[]): Recorded {
    const reasons = assessments.flatMap(reasonsOf);
    const ended = this.record(state, assessments, reasons);
    if (ended.changed) {
      this.#deps.events.batchEnded(this.#builder, state, reasons);
      const [first] = reasons;
      this.#deps.log.warn(state === 'held' ? 'batch_held' : 'batch_rejected', {
        batch: ended.id,
        builder: this.#builder,
        code: first?.code,
        path: first?.path,
        detail: first?.detail,
        reasons: reasons.length,
      });
    }
    return ended;
  }

  /** These groups are the batches that are open now, whatever becomes of them; others are not open any more. */
  supersede(groups: readonly (readonly Assessment[])[]): void {
    const keys = groups.filter((group) => group.length > 0).map((group) => batchKey(this.#builder, group));
    this.#deps.batches.supersede(this.#builder, keys);
  }
}

/** However many repositories a batch has, its reasons are still a page and not a book. */
function bounded(reasons: readonly Reason[]): readonly Reason[] {
  const [first] = reasons;
  if (reasons.length <= reasonsKept || !first) return reasons;
  const more = { code: first.code, path: first.path, detail: `and ${reasons.length - reasonsKept} more reasons` };
  return [...reasons.slice(0, reasonsKept), more];
}

/** The same indexes of the same repositories by the same builder are the same batch, however often they are looked at. */
function batchKey(builder: string, assessments: readonly Assessment[]): string {
  const lines = assessments.map((a) => `${a.index} ${a.vanished ? 'without ' : ''}${a.sha256 ?? 'unreadable'}`).sort();
  return createHash('sha256')
    .update([builder, ...lines].join('\n'))
    .digest('hex');
}
