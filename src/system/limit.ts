/** Bounded concurrency and exclusion: the only two ways in which work runs side by side. */

/** Runs `work` for each item, at most `limit` at a time. The first failure stops the taking of new items and is thrown once all have ended. */
export async function eachLimited<T>(
  items: Iterable<T>,
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const iterator = items[Symbol.iterator]();
  let failure: { readonly error: unknown } | null = null;
  const runner = async (): Promise<void> => {
    for (;;) {
      if (failure) return;
      const next = iterator.next();
      if (next.done) return;
      try {
        await work(next.value);
      } catch (error) {
        failure ??= { error };
      }
    }
  };
  await Promise.all(Array.from({ length: limit }, runner));
  const failed = failure as { readonly error: unknown } | null;
  if (failed) throw failed.error;
}

/** One at a time, in the order of the calls. */
export class Mutex {
  #last: Promise<unknown> = Promise.resolve();

  run<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work, work);
    this.#last = result.catch(() => undefined);
    return result;
  }
}

/** Made once: a reason of its own for each wait would cost more than all the rest of it. */
const over = new DOMException('the wait is over', 'AbortError');

/** A flag that a loop waits for; setting it twice before the loop looks counts once. */
export class Wake {
  #set = false;
  #waiter: (() => void) | null = null;

  wake(): void {
    this.#set = true;
    this.#waiter?.();
  }

  /** Resolves true when woken, false when `sleep` ended first; rejects when `sleep` rejects, as it does on abort. */
  async wait(sleep: (signal: AbortSignal) => Promise<void>): Promise<boolean> {
    if (!this.#set) {
      const stop = new AbortController();
      this.#waiter = () => stop.abort(over);
      try {
        await sleep(stop.signal);
      } catch (error) {
        if (!stop.signal.aborted) throw error;
      } finally {
        this.#waiter = null;
      }
    }
    const woken = this.#set;
    this.#set = false;
    return woken;
  }
}
