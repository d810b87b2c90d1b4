/** Counts who still uses which tree: a leased one is not changed. */
export class Leases {
  readonly #users = new Map<string, number>();

  has(tree: string): boolean {
    return this.#users.has(tree);
  }

  /** Returns the function that gives the tree back; calling it twice counts once. */
  take(tree: string): () => void {
    this.#users.set(tree, (this.#users.get(tree) ?? 0) + 1);
    let released = false;
    return () => {
      if (released) return;
      released = true;
      const left = (this.#users.get(tree) ?? 1) - 1;
      if (left > 0) this.#users.set(tree, left);
      else this.#users.delete(tree);
    };
  }
}
