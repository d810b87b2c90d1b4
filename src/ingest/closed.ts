/** Puts together what goes to the publisher: verified indexes, repositories that leave, and how long it took to get here. */
import type { Assessment, ClosedBatch } from './batch.ts';
import type { Candidate } from './candidate.ts';

export interface BatchTimes {
  /** Since the last change of the inbox. */
  readonly settleMs: number;
  readonly copyMs: number;
}

export function closedBatch(
  batch: { readonly id: string; readonly builder: string },
  assessments: readonly Assessment[],
  candidates: readonly Candidate[],
  times: BatchTimes,
): ClosedBatch {
  return {
    ...batch,
    changes: candidates.flatMap((c) =>
      c.facts
        ? [{ repository: c.repository, candidate: c.id, base: c.base, index: c.facts, indexSource: c.indexSource }]
        : [],
    ),
    removals: assessments.flatMap((a) =>
      a.kind === 'leaving' && a.base !== null ? [{ repository: a.repository, base: a.base }] : [],
    ),
    times: {
      settleMs: Math.round(times.settleMs),
      copyMs: Math.round(times.copyMs),
      verifyMs: Math.round(candidates.reduce((sum, candidate) => sum + candidate.verifyMs, 0)),
    },
  };
}
