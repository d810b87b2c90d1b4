/** Decides what is told of the way of the last generations: uploaded, verified, published, on each mirror since when, and what changed. Pure. */
import type { PackageChange } from '../apk/changes.ts';
import type { Reached } from '../store/reached.ts';
import type { LagSeries } from './lag-history.ts';
import { toInstant } from '../system/instant.ts';

/** `/history.json`, version 1 (public API: fields are added, never renamed). */
export interface RecentHistory {
  readonly version: 1;
  /** Of each configured mirror. */
  readonly lag: readonly LagSeries[];
  /** The last generations, newest first. */
  readonly propagation: readonly Propagation[];
}

/** The way of one generation. Instants are RFC 3339 in UTC. */
export interface Propagation {
  readonly generation: number;
  /** Empty when that is not on record: of what was adopted, for instance. */
  readonly builder: string;
  readonly batch: string;
  /** When the upload changed last; null: nobody measured it, as of a rollback. */
  readonly uploaded_at: string | null;
  /** When all of it was verified and copied. */
  readonly verified_at: string | null;
  /** When publishing began, from which lag is counted. */
  readonly published_at: string;
  /** How long publishing took. */
  readonly publish_seconds: number | null;
  /** Packages, in all repositories. */
  readonly added: number;
  readonly removed: number;
  readonly repositories: readonly string[];
  /** Names of packages of which something changed, and the changes of the first of them. */
  readonly changed_names: number;
  readonly changes: readonly PackageChange[];
  /** Only of a generation that a rollback made. */
  readonly rollback: { readonly to: number; readonly who: string; readonly why: string } | null;
  /** Each configured mirror: a time is that at which it first had this generation or a newer one; null: not yet. */
  readonly mirrors: readonly {
    readonly name: string;
    /** False when it takes none of the repositories that changed. */
    readonly takes: boolean;
    readonly confirmed_at: string | null;
    readonly observed_at: string | null;
  }[];
}

/** What the record says of one generation, which does not change any more. */
export interface PublishedFacts {
  readonly generation: number;
  readonly builder: string | null;
  readonly batch: string;
  readonly publishedAtMs: number;
  /** Null: not measured. */
  readonly settleMs: number | null;
  readonly publishMs: number | null;
  readonly added: number;
  readonly removed: number;
  readonly repositories: readonly string[];
  readonly changedNames: number;
  readonly changes: readonly PackageChange[];
  readonly rollback: Propagation['rollback'];
}

interface MirrorOfHistory {
  readonly name: string;
  readonly takes: (repository: string) => boolean;
}

/** `reached` is what is known of these generations and newer ones. */
export function propagationView(
  generations: readonly PublishedFacts[],
  mirrors: readonly MirrorOfHistory[],
  reached: readonly Reached[],
): Propagation[] {
  const rows = Map.groupBy(reached, (row) => row.mirror);
  return generations.map((facts) => ({
    generation: facts.generation,
    builder: facts.builder ?? '',
    batch: facts.batch,
    uploaded_at: facts.settleMs === null ? null : toInstant(facts.publishedAtMs - facts.settleMs),
    verified_at: facts.settleMs === null ? null : toInstant(facts.publishedAtMs),
    published_at: toInstant(facts.publishedAtMs),
    publish_seconds: facts.publishMs === null ? null : facts.publishMs / 1000,
    added: facts.added,
    removed: facts.removed,
    repositories: facts.repositories,
    changed_names: facts.changedNames,
    changes: facts.changes,
    rollback: facts.rollback,
    mirrors: mirrors.map(({ name, takes }) => {
      const { confirmedAtMs, observedAtMs } = firstReached(rows.get(name) ?? [], facts.generation);
      return {
        name,
        takes: facts.repositories.some(takes),
        confirmed_at: confirmedAtMs === null ? null : toInstant(confirmedAtMs),
        observed_at: observedAtMs === null ? null : toInstant(observedAtMs),
      };
    }),
  }));
}

/** When a mirror first had `generation` or a newer one, by what is known of it. */
export function firstReached(
  rows: readonly Reached[],
  generation: number,
): Pick<Reached, 'confirmedAtMs' | 'observedAtMs'> {
  const since = rows.filter((row) => row.generation >= generation);
  return {
    confirmedAtMs: earliest(since.map((row) => row.confirmedAtMs)),
    observedAtMs: earliest(since.map((row) => row.observedAtMs)),
  };
}

function earliest(times: readonly (number | null)[]): number | null {
  const known = times.filter((time) => time !== null);
  return known.length === 0 ? null : Math.min(...known);
}
