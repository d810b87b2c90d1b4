/** Runs the services of the daemon side by side: the first one that fails by itself stops all; each can be stopped alone. */
import { messageOf } from '../errors.ts';
import type { Clock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';

interface Running {
  readonly stop: AbortController;
  readonly done: Promise<void>;
}

export class Supervisor {
  readonly #log: Log;
  readonly #onFailure: (error: unknown) => void;
  readonly #running = new Map<string, Running>();

  constructor(log: Log, onFailure: (error: unknown) => void) {
    this.#log = log;
    this.#onFailure = onFailure;
  }

  names(): string[] {
    return [...this.#running.keys()];
  }

  /** `run` ends by returning, or by rejecting once its signal is aborted; anything else is a failure of the daemon. */
  start(name: string, run: (signal: AbortSignal) => Promise<void>): void {
    const stop = new AbortController();
    this.#running.set(name, { stop, done: this.#supervise(name, run, stop.signal) });
  }

  /** Aborts the services whose names `matches` and waits until they have ended. */
  async stop(matches: (name: string) => boolean): Promise<void> {
    const ending = [...this.#running].filter(([name]) => matches(name)).map(([, running]) => running);
    for (const { stop } of ending) stop.abort(new DOMException('stopping', 'AbortError'));
    await Promise.all(ending.map(({ done }) => done));
  }

  /** Resolves when every service whose name `matches` has ended by itself, after `ms` at the latest, or once aborted. */
  async endedWithin(
    matches: (name: string) => boolean,
    { ms, clock, signal }: { readonly ms: number; readonly clock: Clock; readonly signal: AbortSignal },
  ): Promise<void> {
    const waitedEnough = new AbortController();
    const ended = Promise.all([...this.#running].filter(([name]) => matches(name)).map(([, running]) => running.done));
    const deadline = clock.sleep(ms, { signal: AbortSignal.any([signal, waitedEnough.signal]) }).catch(() => {});
    await Promise.race([ended, deadline]);
    waitedEnough.abort();
  }

  async #supervise(name: string, run: (signal: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<void> {
    try {
      await run(signal);
    } catch (error) {
      if (signal.aborted) return;
      this.#log.error('service_failed', { service: name, detail: messageOf(error) });
      this.#onFailure(error);
    } finally {
      this.#running.delete(name);
    }
  }
}
