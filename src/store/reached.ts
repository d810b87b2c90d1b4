/** When each mirror was first confirmed to hold a generation and first seen to serve it; kept for the last generations. */
import type { Database } from './database.ts';

/** Generations of which the times are kept: the newest ones that each mirror has reached. */
const kept = 100;

export interface Reached {
  readonly mirror: string;
  readonly generation: number;
  readonly confirmedAtMs: number | null;
  readonly observedAtMs: number | null;
}

/** The first generation of which every time is kept when `newest` is out; of an earlier one some are gone. */
export function firstOnRecord(newest: number): number {
  return newest - kept + 1;
}

/** Writes it down unless it is known: to be called in the transaction that records what the mirror holds or serves. */
export function noteReached(
  db: Database,
  view: 'confirmed' | 'observed',
  { mirror, generation, atMs }: { readonly mirror: string; readonly generation: number; readonly atMs: number },
): void {
  if (generation < 1) return;
  const column = `${view}_at`;
  const { changes } = db.run(
    `INSERT INTO mirror_reached (generation, mirror, target, ${column}) SELECT ?, name, target, ? FROM mirror WHERE name = ?
     ON CONFLICT DO UPDATE SET ${column} = excluded.${column} WHERE ${column} IS NULL`,
    generation,
    atMs,
    mirror,
  );
  if (changes > 0) db.run('DELETE FROM mirror_reached WHERE generation <= ?', generation - kept);
}

export class ReachedStore {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /**
   * What is known of generation `from` and later ones, in no order; of where a mirror was before nothing. A mirror that
   * skipped a generation has no row of it: it had it, or what took its place, when it reached the next one that it has.
   */
  since(from: number): Reached[] {
    return this.#db
      .all(
        `SELECT r.* FROM mirror_reached r JOIN mirror m ON m.name = r.mirror AND m.target = r.target WHERE r.generation >= ?`,
        from,
      )
      .map((row) => ({
        mirror: String(row.mirror),
        generation: Number(row.generation),
        confirmedAtMs: row.confirmed_at === null ? null : Number(row.confirmed_at),
        observedAtMs: row.observed_at === null ? null : Number(row.observed_at),
      }));
  }
}
