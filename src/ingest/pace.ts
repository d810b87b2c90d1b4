/** Decides how long an inbox may rest after a look at it. Pure. */

export interface LookFacts {
  /** An upload ended while the look was taken: what it brought last was not seen. */
  readonly uploadEnded: boolean;
  /** Something waits to be whole or settled. */
  readonly waiting: boolean;
  /** Something was not watched before. */
  readonly newlyWatched: boolean;
  /** Indexes that are not published. */
  readonly open: number;
  readonly passMs: number;
  /** Until what waits has settled. */
  readonly settlesInMs: number;
  readonly rescanMs: number;
}

const secondLookMs = 300;
const heldPauseMs = 1000;

/** In milliseconds; 0: look again at once. */
export function restAfter(facts: LookFacts): number {
  const { passMs, rescanMs } = facts;
  if (facts.uploadEnded) return 0;
  // A pass over a large, incomplete batch must not follow upon the last one at once.
  if (facts.waiting) return Math.max(50, 4 * passMs, Math.min(500, facts.settlesInMs));
  // What came between the look and the watch has woken nobody.
  if (facts.newlyWatched) return Math.min(secondLookMs, rescanMs);
  // What completes a held batch comes without an event: only indexes are watched.
  if (facts.open > 0) return Math.min(Math.max(heldPauseMs, 20 * passMs), rescanMs);
  return rescanMs;
}
