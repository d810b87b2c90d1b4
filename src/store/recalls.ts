/** Recalls in the store: packages that an operator took back, which must neither stay nor come again, on no mirror either. */
import type { Database, Row } from './database.ts';

export interface Recall {
  readonly id: number;
  /** What the operator named. */
  readonly asked: string;
  readonly who: string;
  readonly why: string;
  readonly atMs: number;
}

/** Where a file is still held, as far as the store knows: what was pruned here may lie on mirrors that were away then. */
type Held = 'served' | 'in grace' | 'pruned';

/** A file that was published and may be held somewhere. */
export interface HeldFile {
  readonly repository: string;
  readonly file: string;
  readonly size: number;
  readonly held: Held;
  /** Paths of the served indexes that name it. */
  readonly indexes: readonly string[];
}

/** Rows that become objects at a time. */
const pageSize = 500;

/** Pruned rows too: a mirror that comes back after a long time still has what was pruned here. */
const held = 'present = 1';
const found = 'repository, file, max(size) AS size, max(removed IS NULL) AS served, max(pruned = 0) AS here';

export class RecallStore {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Files, held here or perhaps on a mirror, that `asked` names, by path: `REPOSITORY/FILE`, a file name with or without `.apk`, or the name of a package. At most `limit`. */
  find(asked: string, limit: number): HeldFile[] {
    const slash = asked.lastIndexOf('/');
    const rows =
      slash >= 0
        ? this.#db.all(
            `SELECT ${found} FROM package WHERE repository = ? AND file = ? AND ${held} GROUP BY repository, file LIMIT ?`,
            asked.slice(0, slash),
            asked.slice(slash + 1),
            limit,
          )
        : this.#db.all(
            `SELECT ${found} FROM package
             WHERE (name = ? OR file = ? OR file = ? || '.apk') AND ${held} GROUP BY repository, file ORDER BY repository, file LIMIT ?`,
            asked,
            asked,
            asked,
            limit,
          );
    return rows.map((row) => ({
      repository: String(row.repository),
      file: String(row.file),
      size: Number(row.size),
      held: Number(row.served) === 1 ? 'served' : Number(row.here) === 1 ? 'in grace' : 'pruned',
      indexes: this.#db
        .all(
          'SELECT DISTINCT index_file FROM package WHERE repository = ? AND file = ? AND removed IS NULL AND present = 1 ORDER BY 1',
          String(row.repository),
          String(row.file),
        )
        .map((r) => `${String(row.repository)}/${String(r.index_file)}`),
    }));
  }

  /** Records a recall of all bytes that were published under the names of `files`: from now on nothing counts them as there. Returns its id. */
  add(recall: Omit<Recall, 'id'>, files: readonly Pick<HeldFile, 'repository' | 'file'>[]): number {
    return this.#db.transaction(() => {
      const row = this.#db.get(
        'INSERT INTO recall (asked, who, why, at) VALUES (?, ?, ?, ?) RETURNING id',
        recall.asked,
        recall.who,
        recall.why,
        recall.atMs,
      );
      const id = Number(row?.id);
      for (const { repository, file } of files) {
        this.#db.run(
          `INSERT OR IGNORE INTO recalled_package (recall, repository, file, identity, size)
           SELECT ?, repository, file, identity, size FROM package WHERE repository = ? AND file = ? AND ${held}`,
          id,
          repository,
          file,
        );
        this.#db.run(
          `UPDATE package SET present = 0, pruned = CASE WHEN removed IS NULL THEN 0 ELSE 1 END
           WHERE repository = ? AND file = ? AND ${held}`,
          repository,
          file,
        );
      }
      return id;
    });
  }

  /** Recalls whose files may still lie in our trees: a crash came between. */
  unapplied(): number[] {
    return this.#db.all('SELECT id FROM recall WHERE applied = 0 ORDER BY id').map((row) => Number(row.id));
  }

  markApplied(id: number): void {
    this.#db.run('UPDATE recall SET applied = 1 WHERE id = ?', id);
  }

  /** The newest recall; 0: there is none. */
  newest(): number {
    return Number(this.#db.get('SELECT max(id) AS id FROM recall')?.id ?? 0);
  }

  /** The recall of these bytes; null: none. */
  of(identity: string, size: number): Recall | null {
    const row = this.#db.get(
      'SELECT r.* FROM recalled_package p JOIN recall r ON r.id = p.recall WHERE p.identity = ? AND p.size = ? ORDER BY r.id DESC LIMIT 1',
      identity,
      size,
    );
    return row ? toRecall(row) : null;
  }

  /**
   * Paths that the recalls in (`after`, `upTo`] took back, page by page. Not those under which other bytes came out since: they
   * replace the recalled ones.
   */
  *paths(after: number, upTo: number): Generator<readonly string[]> {
    let last: Row = { repository: '', file: '' };
    for (;;) {
      const rows: Row[] = this.#db.all(
        `SELECT DISTINCT repository, file FROM recalled_package r WHERE recall > ? AND recall <= ? AND (repository, file) > (?, ?)
           AND NOT EXISTS (SELECT 1 FROM package p WHERE p.repository = r.repository AND p.file = r.file AND p.present = 1 AND (p.removed IS NULL OR p.pruned = 0))
         ORDER BY repository, file LIMIT ?`,
        after,
        upTo,
        String(last.repository),
        String(last.file),
        pageSize,
      );
      if (rows.length > 0) yield rows.map((row) => `${String(row.repository)}/${String(row.file)}`);
      const end = rows.at(-1);
      if (!end || rows.length < pageSize) return;
      last = end;
    }
  }

  /** True when a verified package of these candidates was recalled since it was verified. */
  stages(candidates: readonly number[]): boolean {
    const row = this.#db.get(
      `SELECT 1 FROM recalled_package r JOIN staged s ON s.identity = r.identity AND s.size = r.size
       WHERE s.state = 'ready' AND s.candidate IN (SELECT value FROM json_each(?)) LIMIT 1`,
      JSON.stringify(candidates),
    );
    return row !== undefined;
  }
}

function toRecall(row: Row): Recall {
  return {
    id: Number(row.id),
    asked: String(row.asked),
    who: String(row.who),
    why: String(row.why),
    atMs: Number(row.at),
  };
}
