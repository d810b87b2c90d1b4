/** Tries a push that was cut short again, within the same attempt: the only file that knows p-retry. */
import pRetry from 'p-retry';
import { type PushFailureReason, TransportError } from '../errors.ts';
import type { Clock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';
import { type Failure, failureOf } from './backoff.ts';
import type { PushPort } from './ports.ts';

/** What mostly goes well when it is done once more: the rest is the worker's, which knows how to wait. */
const passing: ReadonlySet<PushFailureReason> = new Set(['closed', 'drifted', 'partial', 'refused', 'vanished']);
const moreTries = 2;
/** No mirror is tried more than once a second; the wait doubles and is spread. */
const shortestWaitMs = 1000;

export interface RetryDeps {
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly log: Log;
  /** Told of a try that failed and is followed by another. */
  readonly onRetry: (failure: Failure) => void;
}

/** `push`, tried up to three times with jitter where the connection broke or files changed on the way. */
export function retrying(mirror: string, push: PushPort, { clock, random, log, onRetry }: RetryDeps): PushPort {
  let begunMs = Number.NEGATIVE_INFINITY;
  /** The worker knows when it began the first try of an attempt, not when the last one began. */
  const begin = async (signal: AbortSignal): Promise<number | null> => {
    const leftMs = begunMs + shortestWaitMs - clock.monotonic();
    if (leftMs > 0) await clock.sleep(leftMs, { signal });
    begunMs = clock.monotonic();
    return push.push(signal);
  };
  return {
    transport: push.transport,
    isDue: () => push.isDue(),
    check: (signal) => push.check(signal),
    force: () => push.force(),
    requireOurs: (signal) => push.requireOurs(signal),
    close: () => push.close(),
    get progress() {
      return push.progress ?? null;
    },
    push: (signal) =>
      pRetry(() => begin(signal), {
        retries: moreTries,
        // The wait is ours, below: that of p-retry goes by no clock that can be passed in.
        minTimeout: 0,
        signal,
        shouldRetry: ({ error }) => isPassing(error),
        onFailedAttempt: async ({ error, retriesLeft, retriesConsumed }) => {
          if (retriesLeft === 0 || !isPassing(error)) return;
          const failure = failureOf(error);
          log.info('push_retried', { mirror, reason: failure.reason, detail: failure.message });
          onRetry(failure);
          await clock.sleep(shortestWaitMs * 2 ** retriesConsumed * (1 + random()), { signal });
        },
      }),
  };
}

function isPassing(error: unknown): boolean {
  return error instanceof TransportError && error.kind === 'retryable' && passing.has(error.reason);
}
