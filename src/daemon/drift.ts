/** Decides when what probes see of a mirror is worth a comparison. Pure but for what it remembers. */

/**
 * A mirror that serves less than it was confirmed to hold was changed by somebody, or stands behind a cache. Seen twice in a
 * row it is looked into; the same sight again after `firstMs`, and twice as long each time up to `longestMs`.
 */
export class DriftWatch {
  readonly #firstMs: number;
  readonly #longestMs: number;
  #before: string | null = null;
  #acted: { readonly seen: string; readonly atMs: number; readonly restMs: number } | null = null;

  constructor(firstMs: number, longestMs: number) {
    this.#firstMs = firstMs;
    this.#longestMs = longestMs;
  }

  /** `seen` describes what is wrong; null: nothing. True when it is to be looked into now. */
  isNew(seen: string | null, nowMs: number): boolean {
    const twice = seen !== null && seen === this.#before;
    this.#before = seen;
    if (!twice) return false;
    const acted = this.#acted?.seen === seen ? this.#acted : null;
    if (acted && nowMs < acted.atMs + acted.restMs) return false;
    // What stays as it is comes at least so often: before a longer time all was well again.
    const goesOn = acted !== null && nowMs < acted.atMs + 2 * this.#longestMs;
    const restMs = goesOn ? Math.min(this.#longestMs, 2 * acted.restMs) : this.#firstMs;
    this.#acted = { seen, atMs: nowMs, restMs };
    return true;
  }
}
