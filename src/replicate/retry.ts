/** Tries a push that was cut short again, within the same attempt: the only file that knows p-retry. */
import pRetry from 'p-retry';
import { type PushFailureReason, TransportError } from '../errors.ts';
import type { Log } from '../system/log.ts';
import { type Failure, failureOf } from './backoff.ts';
import type { PushPort } from './ports.ts';

/** What mostly goes well when it is done once more: the rest is the worker's, which knows how to wait. */
const passing: ReadonlySet<PushFailureReason> = new Set(['closed', 'drifted', 'partial', 'refused', 'vanished']);
const moreTries = 2;
/** No mirror is tried more than once a second; p-retry doubles and spreads it. */
const shortestWaitMs = 1000;

export interface RetryDeps {
  readonly log: Log;
  /** Told of a try that failed and is followed by another. */
  readonly onRetry: (failure: Failure) => void;
}

/** `push`, tried up to three times with jitter where the connection broke or files changed on the way. */
export function retrying(mirror: string, push: PushPort, { log, onRetry }: RetryDeps): PushPort {
  return {
    transport: push.transport,
    isDue: () => push.isDue(),
    check: (signal) => push.check(signal),
    force: () => push.force(),
    requireOurs: (signal) => push.requireOurs(signal),
    close: () => push.close(),
    push: (signal) =>
      pRetry(() => push.push(signal), {
        retries: moreTries,
        minTimeout: shortestWaitMs,
        factor: 2,
        randomize: true,
        signal,
        shouldRetry: ({ error }) => isPassing(error),
        onFailedAttempt: ({ error, retriesLeft }) => {
          if (retriesLeft === 0 || !isPassing(error)) return;
          const failure = failureOf(error);
          log.info('push_retried', { mirror, reason: failure.reason, detail: failure.message });
          onRetry(failure);
        },
      }),
  };
}

function isPassing(error: unknown): boolean {
  return error instanceof TransportError && error.kind === 'retryable' && passing.has(error.reason);
}
