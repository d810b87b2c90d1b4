/** Collects the answers to requests that went out without waiting. */

/** Answers that are awaited together; the first failure is kept, and none of them goes unhandled. */
export class Answers {
  readonly #all: Promise<void>[] = [];
  #failure: unknown;
  #failed = false;

  add(answer: Promise<void>): void {
    this.#all.push(
      answer.catch((error: unknown) => {
        if (!this.#failed) this.#failure = error;
        this.#failed = true;
      }),
    );
  }

  throwIfFailed(): void {
    if (this.#failed) throw this.#failure;
  }

  /** Resolves when all are there, good or bad. */
  async ended(): Promise<void> {
    await Promise.all(this.#all);
  }

  async settled(): Promise<void> {
    await this.ended();
    this.throwIfFailed();
  }
}
