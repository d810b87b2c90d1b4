/** Puts together what goes to the publisher: verified indexes, indexes that leave, and how long it took to get here. */
import { indexFileOf } from '../apk/entry.ts';
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
        ? [
            {
              repository: c.repository,
              indexFile: c.fileName,
              candidate: c.id,
              base: c.base,
              index: c.facts,
              indexSource: c.indexSource,
            },
          ]
        : [],
    ),
    removals: assessments.flatMap((a) =>
      a.kind === 'leaving' && a.base !== null
        ? [{ repository: a.repository, file: indexFileOf(a.index), base: a.base }]
        : [],
    ),
    times: {
      settleMs: Math.round(times.settleMs),
      copyMs: Math.round(times.copyMs),
      verifyMs: Math.round(candidates.reduce((sum, candidate) => sum + candidate.verifyMs, 0)),
    },
  };
}
