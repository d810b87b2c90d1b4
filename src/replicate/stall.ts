/** Ends a call that makes no more progress, or too little: every transport call runs under this watch. */
import { TransportError } from '../errors.ts';
import { abortable } from '../system/abortable.ts';
import type { Clock } from '../system/clock.ts';

export interface StallWatch {
  readonly clock: Clock;
  /** Longest time without a sign of life, in milliseconds. */
  readonly stallMs: number;
  /** Longest time in all, in milliseconds: a link that trickles shows signs of life for ever. */
  readonly deadlineMs: number;
  /** How much of the time so far does not count for the deadline: the call waited for its share of the bandwidth. */
  readonly waitedMs?: (() => number) | undefined;
  readonly signal: AbortSignal;
  /** Told of the error when the call is given up. */
  readonly onStall: (error: TransportError) => void;
}

/** Slower than this nobody pushes a repository. */
const slowestBytesPerSecond = 16 * 1024;
const shortestDeadlineMs = 10 * 60_000;
/** Nobody sees it; an abort without a reason would make one with a stack for each call. */
const done = new Error('the call has ended');

/** How long a call that moves `bytes` may take in all; never less than `shortestMs`. */
export function deadlineFor(bytes: number, shortestMs: number = shortestDeadlineMs): number {
  return Math.max(shortestMs, (bytes / slowestBytesPerSecond) * 1000);
}

/**
 * Runs `work`, which calls `alive` at each sign of life. Rejects with the signal's reason at once when that is aborted, and
 * with a TransportError `timeout` after `stallMs` without a sign or `deadlineMs` in all; `work` sees each as an abort of the
 * signal it is given.
 */
export async function withStallWatch<T>(
  watch: StallWatch,
  work: (signal: AbortSignal, alive: () => void) => Promise<T>,
): Promise<T> {
  const { clock, stallMs, deadlineMs, waitedMs = () => 0, onStall } = watch;
  watch.signal.throwIfAborted();
  const finished = new AbortController();
  // Ends with the other one by a listener that goes with the call: AbortSignal.any leaves something there until a collection.
  const ended = new AbortController();
  const { signal } = ended;
  const onAbort = (): void => ended.abort(watch.signal.reason);
  watch.signal.addEventListener('abort', onAbort, { once: true });
  const begun = clock.monotonic();
  const deadline = (): number => begun + deadlineMs + waitedMs();
  let last = clock.monotonic();
  const alive = (): void => {
    last = clock.monotonic();
  };
  const look = async (): Promise<void> => {
    for (;;) {
      const left = Math.min(last + stallMs, deadline()) - clock.monotonic();
      if (left <= 0) break;
      await clock.sleep(left, { signal: finished.signal });
    }
    const error = new TransportError(
      'timeout',
      'retryable',
      clock.monotonic() >= deadline()
        ? `not done after ${Math.round(deadlineMs / 1000)} s, the longest that so much may take: is the link too slow?`
        : `the mirror has been silent for ${Math.round(stallMs / 1000)} s: is it hung?`,
    );
    ended.abort(error);
    onStall(error);
  };
  // The only rejection is that of the sleep that is ended below.
  look().catch(() => {});
  try {
    return await abortable(work(signal, alive), signal);
  } finally {
    watch.signal.removeEventListener('abort', onAbort);
    finished.abort(done);
  }
}
