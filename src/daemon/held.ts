/** Says what a mirror has, given the part that it takes, and since when it lacks what it has not. */
import { isInPart, isWhole, type Part } from '../config/part.ts';
import type { Store } from '../store/store.ts';

/** The newest generation of which a mirror that holds `generation` lacks nothing: what is not in its part it need not have. */
export function withinPart(store: Store, part: Part, generation: number | null, newest: number): number | null {
  if (generation === null || generation >= newest || isWhole(part)) return generation;
  const changed = store.mirrors.changedAfter(generation, newest);
  const missing = changed.filter(({ repository }) => isInPart(part, repository)).map((one) => one.generation);
  return missing.length === 0 ? newest : Math.min(...missing) - 1;
}

/** When the first generation came out that somebody who holds `held` lacks; null: nothing is lacking. */
export function missingSince(store: Store, held: number | null, newest: number): number | null {
  return held !== null && held >= newest ? null : store.generations.publishedAt((held ?? 0) + 1);
}
