/** Candidates that are done with: their private copies and rows go a little later, when the mirrors have had the time that they need. */
import type { Clock } from '../system/clock.ts';
import type { Candidate } from './candidate.ts';

/** A batch that has gone out is on its way to the mirrors at that moment: tidying up can wait, they cannot. */
const restMs = 1000;

export class RetiredCandidates {
  readonly #clock: Clock;
  #candidates: Candidate[] = [];
  #dueAt = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get ids(): number[] {
    return this.#candidates.map(({ id }) => id);
  }

  add(candidate: Candidate): void {
    candidate.retire();
    this.#candidates.push(candidate);
    this.#dueAt = this.#clock.monotonic() + restMs;
  }

  /** Drops them if they have rested. */
  async dropDue(): Promise<void> {
    if (this.#candidates.length === 0 || this.#clock.monotonic() < this.#dueAt) return;
    const due = this.#candidates;
    this.#candidates = [];
    for (const candidate of due) await candidate.drop();
  }
}
