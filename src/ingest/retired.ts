/** Candidates that are done with: their private copies and rows go a little later, when the mirrors have had the time that they need. */
import type { Clock } from '../system/clock.ts';
import type { Candidate } from './candidate.ts';

/** A batch that has gone out is on its way to the mirrors at that moment: tidying up can wait, they cannot. */
const restMs = 1000;

export class RetiredCandidates {
  readonly #clock: Clock;
  /** In the order in which they come due. Each rests for itself: builders that never pause must not keep all of them here. */
  readonly #resting: { readonly candidate: Candidate; readonly dueAt: number }[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get ids(): number[] {
    return this.#resting.map(({ candidate }) => candidate.id);
  }

  add(candidate: Candidate): void {
    candidate.retire();
    this.#resting.push({ candidate, dueAt: this.#clock.monotonic() + restMs });
  }

  /** Drops those that have rested. */
  async dropDue(): Promise<void> {
    const nowMs = this.#clock.monotonic();
    const due = this.#resting.filter(({ dueAt }) => dueAt <= nowMs);
    this.#resting.splice(0, due.length);
    for (const { candidate } of due) await candidate.drop();
  }
}
