/** Decides when an inbox is looked at: sleeps until something wakes it, an upload ends, time is over or the inbox is made anew. */
import type { Clock } from '../system/clock.ts';
import { Wake } from '../system/limit.ts';
import { isAlive, seeUpload } from './locks.ts';

/** How often the lock of a quiet inbox is looked at: events say when an index changes, this finds what they miss. */
const quietPollMs = 500;
/** While something there is open: what completes it, and comes without an event, may be a short upload. */
const openPollMs = 50;
/**
 * How often it is asked whether the uploader is still there, and its lock is looked at all the same: it may let go and live on, or
 * have ended without anybody having asked how.
 */
const uploadPollMs = 8;
const lockPollMs = 250;
/** However often something wakes it, an inbox full of junk is not looked at all the time. */
const longestPaceMs = 2000;

export interface Rest {
  readonly pauseMs: number;
  /** Something waits for more files. */
  readonly isOpen: boolean;
  /** Where the inbox was at the last look. */
  readonly place: string | null;
  /** Done now and then while there is nothing else to do; true when it has found a reason to look. */
  readonly meanwhile: () => Promise<boolean>;
}

export class Lookout {
  readonly #path: string;
  readonly #clock: Clock;
  readonly #wake = new Wake();
  /** The process that held the lock of the inbox when that was looked at last; null: none. */
  #uploader: number | null = null;
  #seenAt: number;
  #announced = false;
  #changedAt: number;
  #progressAt: number;
  /** No look at the inbox begins before this, on the monotonic clock, unless an upload has ended. */
  #pacedUntil = 0;

  constructor(path: string, clock: Clock) {
    this.#path = path;
    this.#clock = clock;
    this.#changedAt = clock.monotonic();
    this.#progressAt = clock.monotonic();
    this.#seenAt = clock.monotonic();
  }

  /** An upload held the lock of the inbox when that was looked at last. */
  get uploading(): boolean {
    return this.#uploader !== null;
  }

  /** When something last got anywhere, on the monotonic clock: proof of life. */
  get progressAt(): number {
    return this.#progressAt;
  }

  /** For how long nothing that was found has changed. */
  get unchangedMs(): number {
    return this.#clock.monotonic() - this.#changedAt;
  }

  /** Something may have happened: look soon. */
  wake(announced = true): void {
    this.#announced ||= announced;
    this.#wake.wake();
  }

  /** Whether an event led to this look; asked once for each. */
  takeAnnounced(): boolean {
    const announced = this.#announced;
    this.#announced = false;
    return announced;
  }

  changed(): void {
    this.#changedAt = this.#clock.monotonic();
  }

  beat(): void {
    this.#progressAt = this.#clock.monotonic();
  }

  /** A look took so long: the next one that only an event asks for comes not before as much time has gone again. */
  pace(tookMs: number): void {
    this.#pacedUntil = this.#clock.monotonic() + Math.min(tookMs, longestPaceMs);
  }

  /** Where the inbox is now; notes whether an upload holds its lock. */
  async seeUpload(): Promise<string | null> {
    const { place, uploader } = await seeUpload(this.#path);
    const before = this.uploading;
    this.#uploader = uploader;
    if (before !== this.uploading) this.changed();
    this.#seenAt = this.#clock.monotonic();
    return place;
  }

  /**
   * Returns when it is time to look. While an upload runs only an event counts: an index can be read ahead, everything else
   * would have to be looked at again.
   */
  async rest({ pauseMs, isOpen, place, meanwhile }: Rest, signal: AbortSignal): Promise<void> {
    const until = this.#clock.monotonic() + pauseMs;
    for (;;) {
      this.beat();
      const left = until - this.#clock.monotonic();
      const quietMs = Math.min(isOpen ? openPollMs : quietPollMs, Math.max(left, 1));
      const step = this.uploading ? uploadPollMs : quietMs;
      const woken = await this.#wake.wait((stop) =>
        this.#clock.sleep(step, { signal: AbortSignal.any([signal, stop]) }),
      );
      signal.throwIfAborted();
      if (!woken && this.#uploadGoesOn()) continue;
      const before = this.#uploader;
      const now = await this.seeUpload();
      if (before !== null && !this.uploading) return;
      const early = woken ? this.#pacedUntil - this.#clock.monotonic() : 0;
      if (early > 0) await this.#clock.sleep(early, { signal });
      if (woken || now !== place) return;
      if (this.uploading) continue;
      if (this.#clock.monotonic() >= until || (await meanwhile())) return;
    }
  }

  /** While the uploader is there its lock need not be asked for each time: that costs, see `locks.ts`. */
  #uploadGoesOn(): boolean {
    const seenMs = this.#clock.monotonic() - this.#seenAt;
    return this.#uploader !== null && seenMs < lockPollMs && isAlive(this.#uploader);
  }
}
