/** Decides how often a mirror that pulls seems to do so, and when it is expected to have pulled next. Pure. */

/** Fewer intervals say nothing. */
const fewestIntervals = 3;

export interface SyncEstimate {
  readonly periodMs: number;
  /** When the mirror is expected to be seen with something newer, or to have looked for it. */
  readonly nextMs: number;
  /** It has lacked something for more than two periods. */
  readonly overdue: boolean;
}

export interface SyncFacts {
  /** When the mirror was seen to have taken a newer generation, oldest first; milliseconds since the epoch. */
  readonly moments: readonly number[];
  /** Since when there is something that it lacks; null: nothing. */
  readonly missingSinceMs: number | null;
  readonly nowMs: number;
}

/**
 * Null while too little was seen. The period is the median of the intervals, so that neither an outage nor a pull by hand
 * moves it much; it is at least the pause between two generations of ours, because a pull that finds nothing new cannot be seen.
 */
export function estimateSync({ moments, missingSinceMs, nowMs }: SyncFacts): SyncEstimate | null {
  const intervals = moments.slice(1).map((moment, n) => moment - (moments[n] ?? moment));
  const periodMs = median(intervals);
  const last = moments.at(-1);
  if (intervals.length < fewestIntervals || last === undefined || periodMs <= 0) return null;
  // While nothing is lacking, pulls come and go unseen.
  const unseenUntilMs = missingSinceMs ?? nowMs;
  const unseen = Math.max(0, Math.ceil((unseenUntilMs - last) / periodMs) - 1);
  const waitingSinceMs = Math.max(last, missingSinceMs ?? last);
  return {
    periodMs,
    nextMs: last + (unseen + 1) * periodMs,
    overdue: missingSinceMs !== null && nowMs - waitingSinceMs > 2 * periodMs,
  };
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2;
}
