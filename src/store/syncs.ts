/** When mirrors that pull were seen to have taken a newer generation; the last few of each mirror are kept. */
import type { Database } from './database.ts';

/** Moments kept for each mirror. */
const kept = 20;

export class SyncStore {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  add(mirror: string, atMs: number): void {
    this.#db.transaction(() => {
      this.#db.run(
        'INSERT INTO mirror_sync (mirror, target, at) SELECT name, target, ? FROM mirror WHERE name = ?',
        atMs,
        mirror,
      );
      this.#db.run(
        'DELETE FROM mirror_sync WHERE mirror = ? AND id NOT IN (SELECT id FROM mirror_sync WHERE mirror = ? ORDER BY id DESC LIMIT ?)',
        mirror,
        mirror,
        kept,
      );
    });
  }

  /** Oldest first, in milliseconds since the epoch; those of where the mirror was before do not count. */
  of(mirror: string): number[] {
    return this.#db
      .all(
        'SELECT s.at FROM mirror_sync s JOIN mirror m ON m.name = s.mirror AND m.target = s.target WHERE s.mirror = ? ORDER BY s.id',
        mirror,
      )
      .map((row) => Number(row.at));
  }
}
