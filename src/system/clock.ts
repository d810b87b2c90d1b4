/** Time as the rest of the program sees it: passed in, so that tests decide what time it is. */
import { setTimeout as delay } from 'node:timers/promises';

export interface Clock {
  /** Milliseconds since the epoch, UTC. For timestamps. */
  now(): number;
  /** Milliseconds that never go back. For elapsed time and deadlines. */
  monotonic(): number;
  /** Resolves after `ms` milliseconds; rejects with the signal's reason once aborted. */
  sleep(ms: number, options?: { readonly signal?: AbortSignal | undefined }): Promise<void>;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: async (ms, options) => {
    await delay(ms, undefined, { signal: options?.signal });
  },
};
