/** Waiting that ends at once when it is called off. */

/**
 * Settles like `promise`, or rejects with the signal's reason as soon as it is aborted. What `promise` does after that
 * is of no interest to the caller: its rejection counts as handled.
 */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(signal.reason as Error);
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}
