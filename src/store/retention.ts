/** What is kept after it left: which packages are due to be pruned from our trees, and which replaced indexes a rollback may want. */
import type { Database, Row } from './database.ts';
import type { Expiry } from './generations.ts';

/** A package that left the last index. */
export interface LeftPackage {
  readonly path: string;
  readonly size: number;
  /** The generation that took it away, and when. */
  readonly removed: number;
  readonly removedAtMs: number;
}

/** An index whose bytes are kept. */
export interface KeptIndex {
  readonly sha256: string;
  readonly size: number;
  /** The generation that replaced it last; null: it is served. */
  readonly until: number | null;
}

const pageSize = 500;

export class RetentionStore {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Packages in our trees that the served generation `at` does not name and that left at `untilMs` or before, each path once. */
  *due(untilMs: number, at: number): Generator<readonly LeftPackage[]> {
    let after = 0;
    for (;;) {
      const rows = this.#db.all(
        `SELECT p.id, p.repository, p.file, p.size, p.removed, p.removed_at FROM package p
         WHERE p.removed IS NOT NULL AND p.pruned = 0 AND p.present = 1 AND +p.removed <= ? AND p.removed_at <= ? AND p.id > ?
           AND NOT EXISTS (SELECT 1 FROM package q WHERE q.repository = p.repository AND q.file = p.file AND q.id <> p.id
             AND (q.removed IS NULL OR q.removed > ? OR q.removed_at > ? OR (q.id > p.id AND q.pruned = 0 AND q.present = 1)))
         ORDER BY p.id LIMIT ?`,
        at,
        untilMs,
        after,
        at,
        untilMs,
        pageSize,
      );
      const last = rows.at(-1);
      if (last) yield rows.map(toLeft);
      if (!last || rows.length < pageSize) return;
      after = Number(last.id);
    }
  }

  /**
   * As `GenerationStore.expired`, with what a person wants to know of each: what left in (`sinceMs`, `untilMs`] and still lies
   * on a mirror that serves generation `at`. `cameBy`: only what came with that generation or before.
   */
  *expiredAt({ sinceMs, untilMs, at }: Expiry, cameBy = Number.MAX_SAFE_INTEGER): Generator<readonly LeftPackage[]> {
    let after: number | null = 0;
    while (after !== null) {
      const rows: Row[] = this.#db.all(
        `SELECT p.id, p.repository, p.file, p.size, p.removed, p.removed_at FROM package p
         WHERE p.removed IS NOT NULL AND +p.removed <= ? AND p.removed_at > ? AND p.removed_at <= ? AND p.added <= ? AND p.present = 1 AND p.id > ?
           AND NOT EXISTS (SELECT 1 FROM package q WHERE q.repository = p.repository AND q.file = p.file AND q.id <> p.id
             AND (q.removed IS NULL OR q.removed > ? OR q.removed_at > ? OR (q.id > p.id AND q.removed_at > ?)))
         ORDER BY p.id LIMIT ?`,
        at,
        sinceMs,
        untilMs,
        cameBy,
        after,
        at,
        untilMs,
        sinceMs,
        pageSize,
      );
      if (rows.length > 0) yield rows.map(toLeft);
      after = rows.length === pageSize ? Number(rows.at(-1)?.id) : null;
    }
  }

  /** The first generation that was published after `ms`; null: none. */
  firstPublishedAfter(ms: number): number | null {
    const row = this.#db.get('SELECT min(number) AS n FROM generation WHERE published_at > ?', ms);
    return row === undefined || row.n === null ? null : Number(row.n);
  }

  /** Indexes that are served, or were replaced by generation `from` or a later one (null: only served ones); the served and the newest first. */
  indexesSince(from: number | null): KeptIndex[] {
    const rows = this.#db.all(
      `SELECT sha256, max(size) AS size, max(coalesce(until, ?)) AS until FROM repository_index
       WHERE until IS NULL OR until >= ? GROUP BY sha256 ORDER BY until DESC, sha256`,
      Number.MAX_SAFE_INTEGER,
      from ?? Number.MAX_SAFE_INTEGER,
    );
    return rows.map((row) => ({
      sha256: String(row.sha256),
      size: Number(row.size),
      until: Number(row.until) === Number.MAX_SAFE_INTEGER ? null : Number(row.until),
    }));
  }
}

function toLeft(row: Row): LeftPackage {
  return {
    path: `${String(row.repository)}/${String(row.file)}`,
    size: Number(row.size),
    removed: Number(row.removed),
    removedAtMs: Number(row.removed_at),
  };
}
