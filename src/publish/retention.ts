/** Decides how long what left is kept: packages for clients and for mirrors that are behind, replaced indexes for a rollback. Pure. */
import type { KeptIndex } from '../store/retention.ts';

/** What a mirror that we feed is known to serve. */
interface MirrorView {
  readonly name: string;
  /** The generation of the indexes there; null: it has none of ours, as far as we know. */
  readonly serves: number | null;
}

export interface RetentionFacts {
  readonly nowMs: number;
  readonly graceMs: number;
  /** No mirror keeps a package here for longer than this after it left. */
  readonly keepForMirrorsMs: number;
  readonly mirrors: readonly (MirrorView & {
    /** Up to here, whatever left has left the mirror's indexes too; null: nothing left since. */
    readonly limitMs: number | null;
  })[];
}

export interface PruneLimit {
  /** What left at this instant or before may go. */
  readonly untilMs: number;
  /** What left until then is over its grace; more than `untilMs` when mirrors hold something back. */
  readonly graceEndMs: number;
  /** The mirrors that hold something back. */
  readonly heldBy: readonly MirrorView[];
}

/**
 * What counts as served by a mirror, null when it has nothing of ours: where users are seen to get an older generation than we
 * brought there, the older one; of a mirror that pulls, what is seen.
 */
export function oldestServed({
  serves,
  observed,
}: {
  readonly serves: number | null;
  readonly observed: number | null;
}): number | null {
  const known = [serves, observed].filter((generation) => generation !== null && generation > 0) as number[];
  return known.length === 0 ? null : Math.min(...known);
}

/** What may be pruned from our trees: out of grace, and in no index that a mirror is known to serve, unless it has been so for too long. */
export function pruneLimit({ nowMs, graceMs, keepForMirrorsMs, mirrors }: RetentionFacts): PruneLimit {
  const graceEndMs = nowMs - graceMs;
  const leastMs = Math.min(graceEndMs, nowMs - keepForMirrorsMs);
  const holding = mirrors.filter((m) => m.limitMs !== null && m.limitMs < graceEndMs);
  const mirrorsMs = Math.min(graceEndMs, ...holding.map((m) => m.limitMs ?? graceEndMs));
  return {
    untilMs: Math.max(leastMs, mirrorsMs),
    graceEndMs,
    heldBy: holding.map(({ name, serves }) => ({ name, serves })),
  };
}

/** Which kept indexes stay, of `indexes` in the order served, then newest first: every served one, and of the others what fits into `maxBytes`. */
export function planKeptIndexes(indexes: readonly KeptIndex[], maxBytes: number): ReadonlySet<string> {
  const kept = new Set<string>();
  let bytes = 0;
  for (const { sha256, size, until } of indexes) {
    if (until !== null) bytes += size;
    if (bytes > maxBytes) break;
    kept.add(sha256);
  }
  return kept;
}
