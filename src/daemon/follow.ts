/** Takes over into the store what a probe saw of a mirror that pulls: nothing else tells which generation it holds. */
import { holdsExactly, type Observation } from '../observe/observation.ts';
import type { IndexProbe } from '../observe/probe.ts';
import type { Store } from '../store/store.ts';

/** What one answered probe saw; `indexes` by path. */
export interface Seen extends Observation {
  readonly indexes: ReadonlyMap<string, IndexProbe>;
}

export interface FollowDeps {
  readonly store: Store;
  /** True for a repository that the mirror takes. */
  readonly takes: (repository: string) => boolean;
  readonly now: () => number;
  /** The mirror is newly confirmed to hold `generation`. */
  readonly onConfirmed: (generation: number) => void;
}

/** To be called before the observation itself is written down: what was seen before is compared with it. */
export function followObservation(mirror: string, seen: Seen, { store, takes, now, onConfirmed }: FollowDeps): void {
  const before = store.mirrors.get(mirror);
  const { generation } = seen;
  // The first look finds what came at some time before.
  if (before.observed !== null && generation !== null && generation > before.observed) store.syncs.add(mirror, now());
  const wanted = store.generations.indexesAt(generation ?? 0).filter(({ repository }) => takes(repository));
  const whole = generation !== null && generation > 0 && holdsExactly(wanted, seen.indexes);
  if (!whole) {
    if (before.confirmed !== null) store.mirrors.doubt(mirror);
    return;
  }
  if (before.confirmed === generation) return;
  store.mirrors.confirm(mirror, generation, now());
  if (generation > (before.serves ?? 0)) onConfirmed(generation);
}
