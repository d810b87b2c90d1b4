/** A clock that stands still until a test moves it: thirty days pass in as long as the work in them takes. */
import type { Clock } from '../../src/system/clock.ts';

interface Sleeper {
  readonly atMs: number;
  readonly order: number;
  /** False when nobody waits any more. */
  readonly wake: () => boolean;
}

/** Of whoever waits: once it is over, no wait of it ends any more. */
export interface Life {
  readonly isOver: boolean;
}

export class VirtualClock implements Clock {
  #monotonicMs = 0;
  /** Wall time minus monotonic time. */
  #offsetMs: number;
  #order = 0;
  /** A binary heap by time, then by order. */
  readonly #sleepers: Sleeper[] = [];

  constructor(startMs = Date.UTC(2026, 10, 23)) {
    this.#offsetMs = startMs;
  }

  now(): number {
    // Whole, as Date.now() is.
    return Math.floor(this.#offsetMs + this.#monotonicMs);
  }

  monotonic(): number {
    return this.#monotonicMs;
  }

  /** Somebody corrects the wall clock. */
  setWall(byMs: number): void {
    this.#offsetMs += byMs;
  }

  sleep(ms: number, options: { readonly signal?: AbortSignal | undefined; readonly life?: Life } = {}): Promise<void> {
    const { signal, life } = options;
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason as Error);
        return;
      }
      let waits = true;
      const onAbort = (): void => {
        waits = false;
        reject(signal?.reason as Error);
      };
      const wake = (): boolean => {
        signal?.removeEventListener('abort', onAbort);
        if (life?.isOver) return false;
        resolve();
        return waits;
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#insert({ atMs: this.#monotonicMs + Math.max(0, ms), order: this.#order++, wake });
    });
  }

  /** Lets `ms` pass; what becomes due in it runs in its order, and all that it leads to. */
  async advance(ms: number): Promise<void> {
    const endMs = this.#monotonicMs + ms;
    // What the engine puts off has its turn too.
    await new Promise<void>((resolve) => setImmediate(resolve));
    for (let first = this.#sleepers[0]; first && first.atMs <= endMs; first = this.#sleepers[0]) {
      this.#monotonicMs = Math.max(this.#monotonicMs, first.atMs);
      if (this.#removeFirst().wake()) await settle();
    }
    this.#monotonicMs = endMs;
  }

  #insert(sleeper: Sleeper): void {
    const heap = this.#sleepers;
    let at = heap.push(sleeper) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(sleeper, heap[parent])) break;
      heap[at] = heap[parent] as Sleeper;
      at = parent;
    }
    heap[at] = sleeper;
  }

  #removeFirst(): Sleeper {
    const heap = this.#sleepers;
    const [first] = heap as [Sleeper];
    const last = heap.pop() as Sleeper;
    if (heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= heap.length) break;
      if (isBefore(heap[child + 1], heap[child])) child += 1;
      if (!isBefore(heap[child], last)) break;
      heap[at] = heap[child] as Sleeper;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}

function isBefore(a: Sleeper | undefined, b: Sleeper | undefined): boolean {
  if (!a || !b) return a !== undefined;
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

/** All that can run without time passing has run, which is when a tick comes: no work of these tests waits for a disk or a network. */
async function settle(): Promise<void> {
  await new Promise<void>((resolve) => process.nextTick(resolve));
}
