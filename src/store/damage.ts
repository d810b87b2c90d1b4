/** Damage in the store: published files whose bytes on our disk are wrong and not mended yet, and the record of the last scrub. */
import type { Database, Row } from './database.ts';

/** A published file as it must be. */
export interface PublishedFile {
  readonly kind: 'package' | 'index';
  readonly repository: string;
  readonly file: string;
  readonly sha256: string;
  readonly size: number;
  readonly mtimeSeconds: number;
}

export interface DamagedFile extends PublishedFile {
  readonly foundAtMs: number;
  readonly detail: string;
}

/** Where the walk over the packages of a tree stands; packages that come meanwhile lie ahead of it. */
export interface TreeCursor {
  readonly added: number;
  readonly id: number;
}

const pageSize = 200;

/** What a package of that row means for a tree at generation `?`: each path once, with the bytes that came last. */
const inTree = `p.added <= ? AND p.present = 1 AND p.pruned = 0 AND NOT EXISTS
  (SELECT 1 FROM package q WHERE q.repository = p.repository AND q.file = p.file AND q.id > p.id
   AND q.added <= ? AND q.present = 1 AND q.pruned = 0)`;

export class DamageStore {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Remembers that the bytes of `file` are wrong here; from then on it is neither pushed nor linked. */
  add(file: DamagedFile): void {
    this.#db.run(
      'INSERT OR IGNORE INTO damaged (kind, repository, file, sha256, size, mtime, found_at, detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
      file.kind,
      file.repository,
      file.file,
      file.sha256,
      file.size,
      file.mtimeSeconds,
      file.foundAtMs,
      file.detail,
    );
  }

  /** It is mended, or nothing needs it any more. */
  remove({ repository, file, sha256 }: PublishedFile): void {
    this.#db.run('DELETE FROM damaged WHERE repository = ? AND file = ? AND sha256 = ?', repository, file, sha256);
  }

  all(): DamagedFile[] {
    return this.#db.all('SELECT * FROM damaged ORDER BY repository, file').map(toDamaged);
  }

  /** Paths that must not be pushed: a newer file under the same name is another matter. */
  withheld(): ReadonlySet<string> {
    const rows = this.#db.all(
      `SELECT repository, file FROM damaged d WHERE NOT EXISTS
         (SELECT 1 FROM package p WHERE p.repository = d.repository AND p.file = d.file AND p.present = 1
          AND p.removed IS NULL AND p.sha256 <> d.sha256)
       AND NOT EXISTS
         (SELECT 1 FROM repository_index i WHERE i.repository = d.repository AND i.file = d.file AND i.until IS NULL
          AND i.sha256 <> d.sha256)`,
    );
    return new Set(rows.map((row) => `${String(row.repository)}/${String(row.file)}`));
  }

  /** What a tree at `generation` holds under that path; null: nothing. */
  expected(repository: string, file: string, generation: number): PublishedFile | null {
    const found = this.#db.get(
      `SELECT p.repository, p.file, p.sha256, p.size, p.mtime, 'package' AS kind FROM package p
       WHERE p.repository = ? AND p.file = ? AND ${inTree} LIMIT 1`,
      repository,
      file,
      generation,
      generation,
    );
    const index = this.#db.get(
      `SELECT repository, file, sha256, size, mtime, 'index' AS kind FROM repository_index
       WHERE repository = ? AND file = ? AND since <= ? AND (until IS NULL OR until > ?)`,
      repository,
      file,
      generation,
      generation,
    );
    const row = found ?? index;
    return row ? toPublished(row) : null;
  }

  /** The next packages of a tree at `generation`, those of the grace period included, in the order in which they came. */
  packagesAfter(
    cursor: TreeCursor,
    generation: number,
  ): { readonly files: readonly PublishedFile[]; readonly next: TreeCursor | null } {
    const rows: Row[] = this.#db.all(
      `SELECT p.id, p.added, p.repository, p.file, p.sha256, p.size, p.mtime, 'package' AS kind FROM package p
       WHERE ${inTree} AND (p.added, p.id) > (?, ?) ORDER BY p.added, p.id LIMIT ?`,
      generation,
      generation,
      cursor.added,
      cursor.id,
      pageSize,
    );
    const last = rows.at(-1);
    return {
      files: rows.map(toPublished),
      next: last && rows.length === pageSize ? { added: Number(last.added), id: Number(last.id) } : null,
    };
  }

  /** How many packages a tree at `generation` holds. */
  countPackages(generation: number): number {
    return Number(
      this.#db.get(
        'SELECT count(DISTINCT repository || ?  || file) AS n FROM package WHERE added <= ? AND present = 1 AND pruned = 0',
        '/',
        generation,
      )?.n,
    );
  }

  /** Every repository that there ever was. */
  repositories(): string[] {
    return this.#db
      .all('SELECT DISTINCT repository FROM repository_index ORDER BY repository')
      .map((row) => String(row.repository));
  }

  /** Writes down how a scrub stands; `report` is what the next process shows. */
  saveRun(finished: boolean, report: unknown): void {
    this.#db.run(
      'INSERT INTO scrub (id, finished, report) VALUES (1, ?, ?) ON CONFLICT (id) DO UPDATE SET finished = excluded.finished, report = excluded.report',
      finished ? 1 : 0,
      JSON.stringify(report),
    );
  }

  /** The last scrub, null when there was none. */
  lastRun(): { readonly finished: boolean; readonly report: unknown } | null {
    const row = this.#db.get('SELECT finished, report FROM scrub WHERE id = 1');
    return row ? { finished: Number(row.finished) === 1, report: JSON.parse(String(row.report)) as unknown } : null;
  }
}

function toPublished(row: Row): PublishedFile {
  return {
    kind: row.kind === 'index' ? 'index' : 'package',
    repository: String(row.repository),
    file: String(row.file),
    sha256: String(row.sha256),
    size: Number(row.size),
    mtimeSeconds: Number(row.mtime),
  };
}

function toDamaged(row: Row): DamagedFile {
  return { ...toPublished(row), foundAtMs: Number(row.found_at), detail: String(row.detail) };
}
