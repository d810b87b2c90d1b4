/** Small pieces of work on a mirror that wait for a moment without a push: whatever else writes there takes turns with the pushes. */
import type { Transport } from './transport.ts';

type Work<T> = (transport: Transport, signal: AbortSignal) => Promise<T>;

export class Errands {
  readonly #waiting: Work<void>[] = [];

  /** Settles as `work` does, once it had its turn. */
  add<T>(work: Work<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#waiting.push((transport, signal) => work(transport, signal).then(resolve, reject));
    });
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  /** Does the one that has waited longest. */
  async next(transport: Transport, signal: AbortSignal): Promise<void> {
    await this.#waiting.shift()?.(transport, signal);
  }
}
