/** Limits a rate of bytes: a token bucket that may go into debt, and the waiting for it. */
import type { Clock } from './clock.ts';

/** `level` bytes may go at once at `atMs` (monotonic); below 0 they are owed. */
export interface Bucket {
  readonly level: number;
  readonly atMs: number;
}

/** So much of a second's bytes may go at once after a rest. */
const burstSeconds = 0.25;
/** One taker takes no more at a time, so that all who share a bucket get on alike. */
const pieceBytes = 64 * 1024;
/** Whoever waits long shows a sign of life so often. */
const signMs = 1000;

/** Takes `bytes` from the bucket, and says how long they must wait to go. Pure. */
export function takeFrom(
  bucket: Bucket,
  bytes: number,
  bytesPerSecond: number,
  nowMs: number,
): { readonly bucket: Bucket; readonly waitMs: number } {
  const burst = Math.max(pieceBytes, bytesPerSecond * burstSeconds);
  const filled = Math.min(burst, bucket.level + (Math.max(0, nowMs - bucket.atMs) / 1000) * bytesPerSecond);
  const level = filled - bytes;
  return { bucket: { level, atMs: nowMs }, waitMs: level >= 0 ? 0 : (-level / bytesPerSecond) * 1000 };
}

export interface ThrottleOptions {
  readonly signal: AbortSignal;
  /** Called now and then while the bytes wait, with the milliseconds since the last call. */
  readonly onWait: (ms: number) => void;
}

/** First come, first served: who comes later owes more and waits longer. */
export class Throttle {
  readonly #clock: Clock;
  #bytesPerSecond: number | null;
  #bucket: Bucket = { level: 0, atMs: 0 };

  /** Null: no limit. */
  constructor(bytesPerSecond: number | null, clock: Clock) {
    this.#bytesPerSecond = bytesPerSecond;
    this.#clock = clock;
  }

  get isLimited(): boolean {
    return this.#bytesPerSecond !== null;
  }

  setRate(bytesPerSecond: number | null): void {
    this.#bytesPerSecond = bytesPerSecond;
  }

  /** Resolves when `bytes` may go; rejects with the signal's reason once aborted. */
  async take(bytes: number, { signal, onWait }: ThrottleOptions): Promise<void> {
    for (let left = bytes; left > 0 && this.#bytesPerSecond !== null; left -= pieceBytes) {
      const taken = takeFrom(this.#bucket, Math.min(left, pieceBytes), this.#bytesPerSecond, this.#clock.monotonic());
      this.#bucket = taken.bucket;
      for (let waitMs = taken.waitMs; waitMs > 0; waitMs -= signMs) {
        const ms = Math.min(waitMs, signMs);
        await this.#clock.sleep(ms, { signal });
        onWait(ms);
      }
    }
  }
}
