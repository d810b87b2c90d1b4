/** Decides which mirrors are worked on at a time: a slot for each transport call, in the order of asking; none can be kept from others. */
import { abortable } from '../system/abortable.ts';
import type { Clock } from '../system/clock.ts';

interface Holder {
  readonly sinceMs: number;
  aliveMs: number;
  /** Works on and is not counted any more: somebody else was given the slot. */
  passed: boolean;
}

interface Waiter {
  readonly go: () => void;
}

/** A holder of whom nothing moves is passed over: it connects to a black hole, or its link hangs. */
const silentMs = 2000;
/** A holder is passed over after this long: it is slow, and the others would wait for hours. */
const sliceMs = 30_000;

/**
 * At most `limit` calls that get on and are young run side by side. One that is silent or long at it, while others wait, is
 * passed over: it goes on (its connection is open anyhow) and its slot goes to whoever has waited longest. So the n-th in the
 * queue waits n / limit slices at most, whatever the mirrors before it do.
 */
export class Slots {
  readonly #clock: Clock;
  readonly #holders = new Set<Holder>();
  readonly #queue: Waiter[] = [];
  #limit: number;
  #watch: AbortController | null = null;

  constructor(limit: number, clock: Clock) {
    this.#limit = limit;
    this.#clock = clock;
  }

  setLimit(limit: number): void {
    this.#limit = limit;
    this.#admit();
  }

  /** Runs `work` in a slot; `work` calls `alive` when something moves. Rejects with the signal's reason once aborted. */
  async run<T>(signal: AbortSignal, work: (alive: () => void) => Promise<T>): Promise<T> {
    await this.#acquire(signal);
    const nowMs = this.#clock.monotonic();
    const holder: Holder = { sinceMs: nowMs, aliveMs: nowMs, passed: false };
    this.#holders.add(holder);
    this.#reserved--;
    try {
      return await work(() => {
        holder.aliveMs = this.#clock.monotonic();
      });
    } finally {
      this.#holders.delete(holder);
      this.#admit();
    }
  }

  /** Slots that were given to somebody who has not begun yet. */
  #reserved = 0;

  async #acquire(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#queue.length === 0 && this.#taken() < this.#limit) {
      this.#reserved++;
      return;
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiter = { go: resolve };
    this.#queue.push(waiter);
    this.#startWatch();
    try {
      await abortable(promise, signal);
    } catch (error) {
      const at = this.#queue.indexOf(waiter);
      if (at >= 0) this.#queue.splice(at, 1);
      else this.#reserved--;
      this.#admit();
      throw error;
    }
  }

  #taken(): number {
    let taken = this.#reserved;
    for (const { passed } of this.#holders) if (!passed) taken++;
    return taken;
  }

  #admit(): void {
    while (this.#queue.length > 0 && this.#taken() < this.#limit) {
      this.#reserved++;
      this.#queue.shift()?.go();
    }
    if (this.#queue.length === 0) {
      this.#watch?.abort();
      this.#watch = null;
    }
  }

  /** Looks after the holders as long as somebody waits. */
  #startWatch(): void {
    if (this.#watch) return;
    const watch = new AbortController();
    this.#watch = watch;
    // The only rejection is that of the sleep that #admit ends.
    this.#watchHolders(watch.signal).catch(() => {});
  }

  async #watchHolders(signal: AbortSignal): Promise<void> {
    for (;;) {
      const nowMs = this.#clock.monotonic();
      const ends = [...this.#holders]
        .filter((holder) => !holder.passed)
        .map((holder) => ({ holder, endMs: Math.min(holder.aliveMs + silentMs, holder.sinceMs + sliceMs) }))
        .sort((a, b) => a.endMs - b.endMs);
      // One for each who waits, no more: who gets on keeps a slot that nobody wants.
      for (const { holder } of ends.filter(({ endMs }) => endMs <= nowMs).slice(0, this.#queue.length)) {
        holder.passed = true;
        this.#admit();
      }
      const nextMs = ends.find(({ endMs }) => endMs > nowMs)?.endMs ?? nowMs + silentMs;
      // Rejects at once when #admit has just let the last one in.
      await this.#clock.sleep(nextMs - nowMs, { signal });
    }
  }
}
