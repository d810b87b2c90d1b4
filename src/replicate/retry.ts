/** Tries a push again within the attempt: the only file that knows p-retry. */
import pRetry from 'p-retry';
import { isTransient } from '../errors.ts';

export interface RetryOptions {
  readonly retries: number;
  readonly minDelayMs: number;
  readonly signal: AbortSignal;
  /** Told of each failure that will be followed by another try. */
  readonly onRetry: (error: unknown) => void;
}

/** Runs `work` until it succeeds, fails with something that a new try cannot mend, or has been tried `retries` times more. */
export async function retryTransient<T>(work: () => Promise<T>, options: RetryOptions): Promise<T> {
  return pRetry(work, {
    retries: options.retries,
    minTimeout: options.minDelayMs,
    maxTimeout: 30_000,
    factor: 2,
    randomize: true,
    signal: options.signal,
    shouldRetry: ({ error }) => isTransient(error),
    onFailedAttempt: ({ error, retriesLeft }) => {
      if (retriesLeft > 0 && isTransient(error)) options.onRetry(error);
    },
  });
}
