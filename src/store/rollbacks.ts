/** Rollbacks in the store: who went back to which generation and why, and which indexes were rolled back from or brought back. */
import type { IndexFileName } from '../apk/entry.ts';
import type { Database, Row } from './database.ts';

export interface Rollback {
  /** The batch of the generation that the rollback made. */
  readonly batch: string;
  /** The generation whose indexes came back. */
  readonly target: number;
  /** Null: all repositories. */
  readonly repository: string | null;
  readonly who: string;
  readonly why: string;
  readonly atMs: number;
}

export class RollbackStore {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Notes the rollback before its generation is begun: without that generation the note means nothing. */
  add({ batch, target, repository, who, why, atMs }: Rollback): void {
    this.#db.run(
      'INSERT INTO rollback (batch, target, repository, who, why, at) VALUES (?, ?, ?, ?, ?, ?)',
      batch,
      target,
      repository,
      who,
      why,
      atMs,
    );
  }

  get(batch: string): Rollback | null {
    return toRollback(this.#db.get('SELECT * FROM rollback WHERE batch = ?', batch));
  }

  /** Of a rollback whose generation did not come out. */
  remove(batch: string): void {
    this.#db.run('DELETE FROM rollback WHERE batch = ?', batch);
  }

  /** The rollback that took away the index with this digest, as long as no upload brought another one since. */
  awayFrom(repository: string, sha256: string): Rollback | null {
    return toRollback(
      this.#db.get(
        `SELECT r.* FROM (SELECT * FROM repository_index WHERE repository = ? AND sha256 = ? ORDER BY since DESC LIMIT 1) i
         JOIN generation g ON g.number = i.until JOIN rollback r ON r.batch = g.batch
         WHERE NOT EXISTS (SELECT 1 FROM repository_index n WHERE n.repository = i.repository AND n.file = i.file AND n.since > i.until
           AND NOT EXISTS (SELECT 1 FROM generation m JOIN rollback b ON b.batch = m.batch WHERE m.number = n.since))`,
        repository,
        sha256,
      ),
    );
  }

  /** The rollback that made generation `number`; null when an upload did. */
  of(number: number): Rollback | null {
    return toRollback(
      this.#db.get('SELECT r.* FROM generation g JOIN rollback r ON r.batch = g.batch WHERE g.number = ?', number),
    );
  }

  /** After the candidate was compared: how many packages come back, with their bytes, and how many leave. */
  extent(candidate: number): { readonly back: number; readonly leave: number; readonly bytes: number } {
    const come = this.#db.get('SELECT count(*) AS n, total(size) AS bytes FROM staged WHERE candidate = ?', candidate);
    const leave = this.#db.get('SELECT count(*) AS n FROM leaving WHERE candidate = ?', candidate);
    return { back: Number(come?.n), leave: Number(leave?.n), bytes: Number(come?.bytes) };
  }

  /** True when the index of generation `at` named the package without having it. */
  wasMissing(repository: string, indexFile: IndexFileName, file: string, at: number): boolean {
    const row = this.#db.get(
      `SELECT present FROM package WHERE repository = ? AND file = ? AND index_file = ? AND added <= ?
         AND (removed IS NULL OR removed > ?) LIMIT 1`,
      repository,
      file,
      indexFile,
      at,
      at,
    );
    return row?.present === 0;
  }
}

function toRollback(row: Row | undefined): Rollback | null {
  if (!row) return null;
  return {
    batch: String(row.batch),
    target: Number(row.target),
    repository: row.repository === null ? null : String(row.repository),
    who: String(row.who),
    why: String(row.why),
    atMs: Number(row.at),
  };
}
