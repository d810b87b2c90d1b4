/** Ends a call that makes no more progress: every transport call runs under this watch. */
import { TransportError } from '../errors.ts';
import { abortable } from '../system/abortable.ts';
import type { Clock } from '../system/clock.ts';

export interface StallWatch {
  readonly clock: Clock;
  /** Longest time without a sign of life, in milliseconds. */
  readonly stallMs: number;
  readonly signal: AbortSignal;
  /** Told of the error when the call is given up. */
  readonly onStall: (error: TransportError) => void;
}

/**
 * Runs `work`, which calls `alive` at each sign of life. Rejects with the signal's reason at once when that is aborted, and
 * with a TransportError `timeout` after `stallMs` without a sign; `work` sees both as an abort of the signal it is given.
 */
export async function withStallWatch<T>(
  watch: StallWatch,
  work: (signal: AbortSignal, alive: () => void) => Promise<T>,
): Promise<T> {
  const { clock, stallMs, onStall } = watch;
  watch.signal.throwIfAborted();
  const stalled = new AbortController();
  const finished = new AbortController();
  const signal = AbortSignal.any([watch.signal, stalled.signal]);
  let last = clock.monotonic();
  const alive = (): void => {
    last = clock.monotonic();
  };
  const look = async (): Promise<void> => {
    for (;;) {
      const left = last + stallMs - clock.monotonic();
      if (left <= 0) break;
      await clock.sleep(left, { signal: finished.signal });
    }
    const seconds = Math.round(stallMs / 1000);
    const error = new TransportError(
      'timeout',
      'retryable',
      `the mirror has been silent for ${seconds} s: is it hung?`,
    );
    stalled.abort(error);
    onStall(error);
  };
  // The only rejection is that of the sleep that is ended below.
  look().catch(() => {});
  try {
    return await abortable(work(signal, alive), signal);
  } finally {
    finished.abort();
  }
}
