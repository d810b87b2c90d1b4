/** Decides when what probes see of a mirror is worth a comparison. Pure but for what it remembers. */

/**
 * A mirror that serves less than it was confirmed to hold was changed by somebody, or stands behind a cache. Seen twice in a
 * row it is looked into, and the same sight not again before `sameMs`.
 */
export class DriftWatch {
  readonly #sameMs: number;
  #before: string | null = null;
  #acted: { readonly seen: string; readonly atMs: number } | null = null;

  constructor(sameMs: number) {
    this.#sameMs = sameMs;
  }

  /** `seen` describes what is wrong; null: nothing. True when it is to be looked into now. */
  isNew(seen: string | null, nowMs: number): boolean {
    const twice = seen !== null && seen === this.#before;
    this.#before = seen;
    if (!twice || (this.#acted?.seen === seen && nowMs < this.#acted.atMs + this.#sameMs)) return false;
    this.#acted = { seen, atMs: nowMs };
    return true;
  }
}
