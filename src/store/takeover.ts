/** Queries for taking over trees whose records were lost or are older than they: what was found there, and what still has to be hashed. */
import type { IndexFileName } from '../apk/entry.ts';
import type { Database } from './database.ts';

/** A file that a tree holds although no index names it any more: it stays for the grace period. */
export interface LeftPackage {
  readonly repository: string;
  readonly indexFile: IndexFileName;
  readonly file: string;
  readonly name: string;
  readonly version: string;
  readonly size: number;
  readonly mtimeSeconds: number;
}

/** A served package whose bytes were not read since its record was made. */
export interface UnhashedPackage {
  readonly id: number;
  readonly repository: string;
  readonly file: string;
  readonly name: string;
  readonly version: string;
  /** What the index says; empty when nobody trusts the index. */
  readonly identity: string;
  readonly arch: string;
  readonly size: number;
}

const pageSize = 500;

export class TakeoverStore {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Candidates' rows whose files lie in the tree already, with the right size: their bytes are hashed later. */
  setFound(rows: readonly { readonly id: number; readonly mtimeSeconds: number }[]): void {
    this.#db.transaction(() => {
      for (const { id, mtimeSeconds } of rows)
        this.#db.run(
          "UPDATE staged SET state = 'ready', code = NULL, mtime = ?, package_arch = arch WHERE id = ?",
          mtimeSeconds,
          id,
        );
    });
  }

  /** True when the candidate has a row for that file. */
  isStaged(candidate: number, file: string): boolean {
    return this.#db.get('SELECT 1 FROM staged WHERE candidate = ? AND file = ?', candidate, file) !== undefined;
  }

  /** True when the repository has a record of that path, current or in its grace period. */
  knows(repository: string, file: string): boolean {
    const sql =
      'SELECT 1 FROM package WHERE repository = ? AND file = ? AND present = 1 AND (removed IS NULL OR pruned = 0) LIMIT 1';
    return this.#db.get(sql, repository, file) !== undefined;
  }

  /** Records files as having left with generation `number` at `atMs`: their grace period starts there. */
  addLeft(packages: readonly LeftPackage[], number: number, atMs: number): void {
    this.#db.transaction(() => {
      for (const p of packages)
        this.#db.run(
          `INSERT INTO package (repository, index_file, file, name, version, identity, size, mtime, present, added, removed, removed_at)
           VALUES (?, ?, ?, ?, ?, '', ?, ?, 1, ?, ?, ?)`,
          p.repository,
          p.indexFile,
          p.file,
          p.name,
          p.version,
          p.size,
          p.mtimeSeconds,
          number,
          number,
          atMs,
        );
    });
  }

  /** What is recorded of trees and mirrors is older than they are: it is not known any more. */
  doubtEverything(): void {
    this.#db.transaction(() => {
      this.#db.run('DELETE FROM tree');
      this.#db.run('UPDATE mirror SET confirmed = NULL, observed = NULL');
    });
  }

  /** Notes indexes whose bytes are still kept although no record says when and where they were published. Returns how many. */
  addPublishedBefore(digests: readonly string[]): number {
    return this.#db.transaction(() => {
      let noted = 0;
      for (const sha256 of digests)
        noted += this.#db.run(
          `INSERT OR IGNORE INTO published_before (sha256)
           SELECT ? WHERE NOT EXISTS (SELECT 1 FROM repository_index WHERE sha256 = ?)`,
          sha256,
          sha256,
        ).changes;
      return noted;
    });
  }

  /** True for an index of which only that is known: it was published before the records were lost. */
  wasPublishedBefore(sha256: string): boolean {
    return this.#db.get('SELECT 1 FROM published_before WHERE sha256 = ?', sha256) !== undefined;
  }

  /** Served packages after `afterId` whose bytes are still to be hashed, at most a page. */
  unhashed(afterId: number): UnhashedPackage[] {
    return this.#db
      .all(
        `SELECT id, repository, file, name, version, identity, arch, size FROM package
         WHERE sha256 IS NULL AND present = 1 AND removed IS NULL AND id > ? ORDER BY id LIMIT ?`,
        afterId,
        pageSize,
      )
      .map((row) => ({
        id: Number(row.id),
        repository: String(row.repository),
        file: String(row.file),
        name: String(row.name),
        version: String(row.version),
        identity: String(row.identity),
        arch: String(row.arch ?? ''),
        size: Number(row.size),
      }));
  }

  /** The file was read and is what its index names. */
  setHash(
    id: number,
    facts: { readonly sha256: string; readonly arch: string | null; readonly signedBy: string | null },
  ): void {
    this.#db.run(
      'UPDATE package SET sha256 = ?, arch = ?, signed_by = ? WHERE id = ?',
      facts.sha256,
      facts.arch,
      facts.signedBy,
      id,
    );
  }
}
