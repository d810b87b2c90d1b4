/** Follows which generations came to each mirror in time, and tells the metrics; what one is decides observe/arrivals.ts. */
import { isInPart, isWhole, type Part } from '../config/part.ts';
import { type ArrivalFacts, arrivalGoalMs, arrivalOf, isHealthy } from '../observe/arrivals.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { StatusFacts } from '../observe/status.ts';
import type { Store } from '../store/store.ts';

interface Followed {
  readonly part: Part;
  /** Everything up to this generation has been counted, or came before we looked. */
  counted: number;
  unhealthyAtMs: number | null;
}

export class Arrivals {
  readonly #store: Store;
  readonly #metrics: Pick<Metrics, 'arrived'>;
  readonly #mirrors = new Map<string, Followed>();

  constructor(store: Store, metrics: Pick<Metrics, 'arrived'>) {
    this.#store = store;
    this.#metrics = metrics;
  }

  /** From now on the mirror is followed. What it has, and what is too old to come in time, was counted by whoever ran then. */
  open(name: string, part: Part, nowMs: number): void {
    const { generations, mirrors } = this.#store;
    let counted = generations.current()?.number ?? 0;
    const held = mirrors.get(name).confirmed ?? 0;
    while (counted > held && nowMs - (generations.publishedAt(counted) ?? 0) <= arrivalGoalMs) counted--;
    this.#mirrors.set(name, { part, counted, unhealthyAtMs: null });
  }

  /** The mirror is no more, or becomes another. */
  forget(name: string): void {
    this.#mirrors.delete(name);
  }

  /** The mirror was just confirmed to hold `held`. */
  confirmed(name: string, held: number, nowMs: number): void {
    const mirror = this.#mirrors.get(name);
    if (mirror) this.#count(name, mirror, { held, unhealthyAtMs: mirror.unhealthyAtMs, nowMs });
  }

  /** At each scrape: what did not come must be counted too. */
  look({ mirrors }: Pick<StatusFacts, 'mirrors'>, nowMs: number): void {
    for (const facts of mirrors) {
      const mirror = this.#mirrors.get(facts.name);
      if (!mirror) continue;
      if (!isHealthy(facts)) mirror.unhealthyAtMs = nowMs;
      this.#count(facts.name, mirror, { held: facts.generation, unhealthyAtMs: mirror.unhealthyAtMs, nowMs });
    }
  }

  #count(name: string, mirror: Followed, facts: ArrivalFacts): void {
    const newest = this.#store.generations.current()?.number ?? 0;
    for (let generation = mirror.counted + 1; generation <= newest; generation++) {
      const publishedAtMs = this.#store.generations.publishedAt(generation) ?? facts.nowMs;
      const outcome = arrivalOf({ generation, publishedAtMs }, facts);
      if (outcome === null) return;
      if (this.#concerns(mirror.part, generation)) this.#metrics.arrived(name, outcome);
      mirror.counted = generation;
    }
  }

  /** False for a number that was never published, and for a generation that changed nothing of what the mirror takes. */
  #concerns(part: Part, generation: number): boolean {
    const { generations, mirrors } = this.#store;
    if (!generations.isOnRecord(generation)) return false;
    if (isWhole(part)) return true;
    return mirrors.changedAfter(generation - 1, generation).some(({ repository }) => isInPart(part, repository));
  }
}
