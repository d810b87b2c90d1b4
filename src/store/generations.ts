/** Generations in the store: what each one added and removed, which indexes it serves, which tree holds it. */
import type { IndexFileName } from '../apk/entry.ts';
import type { Database, Row } from './database.ts';
import { toIndexRow, toPackageRow } from './generation-rows.ts';

export interface Generation {
  readonly number: number;
  readonly publishedAtMs: number;
  /** Name of the directory below `trees/` that holds it. */
  readonly tree: string;
  readonly batch: string;
  readonly added: number;
  readonly removed: number;
}

/** How long a batch took until its publishing began, in whole milliseconds; null where nobody measured it. */
export interface StageTimes {
  readonly settleMs: number | null;
  readonly copyMs: number | null;
  readonly verifyMs: number | null;
}

/** What is known of the age of an index that is served, or was last. */
export interface IndexAge {
  readonly sha256: string;
  readonly description: string | null;
  /** Unix seconds. */
  readonly newestBuildTime: number | null;
  /** False when it has left. */
  readonly current: boolean;
}

/** One repository's index over the generations in which it was (or is) current. */
export interface IndexRow {
  readonly repository: string;
  /** Its name in the directory of the repository, which may hold more than one. */
  readonly file: IndexFileName;
  readonly since: number;
  readonly sha256: string;
  readonly size: number;
  readonly mtimeSeconds: number;
  readonly packages: number;
  /** The name of the key. */
  readonly signedBy: string;
  /** The key's fingerprint; absent when it was not noted. */
  readonly signedKey?: string;
  readonly builder: string;
  /** Where its bytes lie while the generation is pending, relative to the root; null: in the trees. */
  readonly source: string | null;
}

/** One package file of one repository. */
export interface PackageRow {
  readonly id: number;
  readonly repository: string;
  readonly file: string;
  readonly size: number;
  readonly mtimeSeconds: number;
  /** Null: the record was rebuilt, and the file was not read since. */
  readonly sha256: string | null;
  readonly source: string | null;
  /** The newest generation does not name it any more: it is kept for the grace period. */
  readonly retained: boolean;
}

/** What is to be pruned: `at` is the generation that is served, times in milliseconds since the epoch. */
export interface Expiry {
  readonly sinceMs: number;
  readonly untilMs: number;
  readonly at: number;
}

/** Rows that become objects at a time: few enough to die young. */
const pageSize = 500;

/** A source is where the bytes lie until the generation is committed; afterwards they are in the trees. */
const columns = `id, repository, file, size, mtime, sha256, removed,
  CASE WHEN added = (SELECT number FROM generation WHERE state = 'pending') THEN source END AS source`;

/** Holds for a row of `package` or `repository_index` whose bytes here are not known to be wrong. */
export const undamaged = (row: string): string =>
  `NOT EXISTS (SELECT 1 FROM damaged d WHERE d.repository = ${row}.repository AND d.file = ${row}.file AND d.sha256 = ${row}.sha256)`;

export class GenerationStore {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** The newest published generation. */
  current(): Generation | null {
    return toGeneration(
      this.#db.get("SELECT * FROM generation WHERE state = 'published' ORDER BY number DESC LIMIT 1"),
    );
  }

  /** Publish time of `number`, or of the first one after it that is on record, in milliseconds; null when there is none. */
  publishedAt(number: number): number | null {
    const row = this.#db.get(
      "SELECT published_at FROM generation WHERE number >= ? AND state = 'published' ORDER BY number LIMIT 1",
      number,
    );
    return row ? Number(row.published_at) : null;
  }

  /** False for one that never was, and for one whose record was lost: nobody knows what it served. */
  isOnRecord(number: number): boolean {
    return this.#db.get("SELECT 1 FROM generation WHERE number = ? AND state = 'published'", number) !== undefined;
  }

  /** The indexes that generation `at` serves. */
  indexesAt(at: number): IndexRow[] {
    return this.#db
      .all(
        `SELECT *, since = (SELECT number FROM generation WHERE state = 'pending') AS fresh FROM repository_index
         WHERE since <= ? AND (until IS NULL OR until > ?) ORDER BY repository, file`,
        at,
        at,
      )
      .map(toIndexRow);
  }

  /** The current index of that name in one repository. */
  indexOf(repository: string, file: IndexFileName): IndexRow | null {
    const row = this.#db.get(
      'SELECT * FROM repository_index WHERE repository = ? AND file = ? AND until IS NULL',
      repository,
      file,
    );
    return row ? toIndexRow(row) : null;
  }

  /** The generations during which `repository` served the index with this digest; null when it never did. `last` null: still current. */
  rangeOf(repository: string, sha256: string): { first: number; last: number | null } | null {
    const row = this.#db.get(
      'SELECT since, until FROM repository_index WHERE repository = ? AND sha256 = ? ORDER BY since DESC LIMIT 1',
      repository,
      sha256,
    );
    return row ? { first: Number(row.since), last: row.until === null ? null : Number(row.until) - 1 } : null;
  }

  /** Another repository that serves the index with this digest, or has served it; null when there is none. */
  otherRepositoryOf(repository: string, sha256: string): string | null {
    const row = this.#db.get(
      'SELECT repository FROM repository_index WHERE sha256 = ? AND repository <> ? ORDER BY since DESC LIMIT 1',
      sha256,
      repository,
    );
    return row ? String(row.repository) : null;
  }

  /** The generation in which an index appeared: the last time, if it left and came back. */
  firstGenerationOf(repository: string, file: IndexFileName): number | null {
    const row = this.#db.get(
      `SELECT max(since) AS first FROM repository_index i WHERE repository = ? AND file = ? AND NOT EXISTS
         (SELECT 1 FROM repository_index p WHERE p.repository = i.repository AND p.file = i.file AND p.until = i.since)`,
      repository,
      file,
    );
    return row?.first === null || row === undefined ? null : Number(row.first);
  }

  /** The age of the index that is served under this name, or was last; null when there never was one. */
  ageOf(repository: string, file: IndexFileName): IndexAge | null {
    const row = this.#db.get(
      `SELECT sha256, description, newest_build_time, until FROM repository_index WHERE repository = ? AND file = ?
       ORDER BY since DESC LIMIT 1`,
      repository,
      file,
    );
    if (!row) return null;
    return {
      sha256: String(row.sha256),
      description: row.description === null ? null : String(row.description),
      newestBuildTime: row.newest_build_time === null ? null : Number(row.newest_build_time),
      current: row.until === null,
    };
  }

  /** The indexes that are served now and came from `builder`. */
  indexesBy(builder: string): IndexRow[] {
    return this.#db
      .all(
        'SELECT *, 0 AS fresh FROM repository_index WHERE until IS NULL AND builder = ? ORDER BY repository, file',
        builder,
      )
      .map(toIndexRow);
  }

  /** Paths of indexes that left after generation `from` (at any time when that is null), and that `to` has none in place of. */
  indexesLeft(from: number | null, to: number): string[] {
    return this.#db
      .all(
        `SELECT DISTINCT repository, file FROM repository_index i WHERE until > ? AND until <= ? AND NOT EXISTS
           (SELECT 1 FROM repository_index k WHERE k.repository = i.repository AND k.file = i.file
            AND k.since <= ? AND (k.until IS NULL OR k.until > ?))
         ORDER BY repository, file`,
        from ?? 0,
        to,
        to,
        to,
      )
      .map((row) => `${String(row.repository)}/${String(row.file)}`);
  }

  /**
   * What a tree at generation `from` lacks of generation `to`: every package that came in between and is not pruned yet,
   * those included that left again within the grace period. Each path once, with the bytes that came last; what is damaged
   * here is linked when it is mended.
   */
  *packagesForTree(from: number, to: number): Generator<readonly PackageRow[]> {
    yield* this.#since(
      `added > ? AND added <= ? AND present = 1 AND pruned = 0 AND NOT EXISTS
         (SELECT 1 FROM package q WHERE q.repository = package.repository AND q.file = package.file AND q.id > package.id
          AND q.added <= ? AND q.present = 1 AND q.pruned = 0)
       AND ${undamaged('package')}`,
      [from, to, to],
    );
  }

  /**
   * What a mirror at generation `from` lacks of `to`: only what generation `to` names. Last what takes the place of other
   * bytes, which the mirror's index may still name: it is wrong there until the indexes follow; not at all with `staging`.
   * What else generation `since` names is there already.
   */
  *packagesForMirror(
    from: number,
    to: number,
    { since = from, staging = false }: { readonly since?: number; readonly staging?: boolean } = {},
  ): Generator<readonly PackageRow[]> {
    const wanted = 'added > ? AND added <= ? AND present = 1 AND (removed IS NULL OR removed > ?)';
    const replaces = `EXISTS (SELECT 1 FROM package q WHERE q.repository = package.repository AND q.file = package.file
      AND q.added <= ? AND q.present = 1 AND q.sha256 <> package.sha256)`;
    yield* this.#since(`${wanted} AND NOT ${replaces}`, [since, to, to, from]);
    if (!staging) yield* this.#since(`${wanted} AND ${replaces}`, [from, to, to, from]);
  }

  /** Every package of one repository at generation `at`. */
  *packagesOf(repository: string, at: number): Generator<readonly PackageRow[]> {
    let after: Row = { file: '', id: 0 };
    for (;;) {
      const rows: Row[] = this.#db.all(
        `SELECT ${columns} FROM package WHERE repository = ? AND added <= ? AND present = 1 AND (removed IS NULL OR removed > ?)
           AND (file, id) > (?, ?) ORDER BY file, id LIMIT ?`,
        repository,
        at,
        at,
        String(after.file),
        Number(after.id),
        pageSize,
      );
      const last = rows.at(-1);
      if (last) yield rows.map(toPackageRow);
      if (!last || rows.length < pageSize) return;
      after = last;
    }
  }

  /** How many packages one repository has at generation `at`, and how many bytes they have. */
  sizeOf(repository: string, at: number): { readonly packages: number; readonly bytes: number } {
    const row = this.#db.get(
      `SELECT count(*) AS n, total(size) AS bytes FROM package WHERE repository = ? AND added <= ? AND present = 1
         AND (removed IS NULL OR removed > ?)`,
      repository,
      at,
      at,
    );
    return { packages: Number(row?.n), bytes: Number(row?.bytes) };
  }

  /** True when generation `at`, or an index that left less than the grace period ago, needs the file. */
  isWanted(repository: string, file: string, at: number, keepAfterMs: number): boolean {
    return (
      this.#db.get(
        'SELECT 1 FROM package WHERE repository = ? AND file = ? AND present = 1 AND (removed IS NULL OR removed > ? OR removed_at > ?)',
        repository,
        file,
        at,
        keepAfterMs,
      ) !== undefined
    );
  }

  /**
   * Paths whose last reason to be kept ended in (`sinceMs`, `untilMs`] for somebody who serves generation `at`, at most one
   * page; `next` continues the walk. What only a newer (or not yet published) generation takes away is still named there.
   */
  expired(
    { sinceMs, untilMs, at }: Expiry,
    afterId: number,
  ): { readonly paths: readonly string[]; readonly next: number | null } {
    const rows = this.#db.all(
      `SELECT p.id, p.repository, p.file FROM package p
       WHERE p.removed IS NOT NULL AND +p.removed <= ? AND p.removed_at > ? AND p.removed_at <= ? AND p.id > ?
         AND NOT EXISTS (SELECT 1 FROM package q WHERE q.repository = p.repository AND q.file = p.file AND q.id <> p.id
                         AND (q.removed IS NULL OR q.removed > ? OR q.removed_at > ?))
       ORDER BY p.id LIMIT ?`,
      at,
      sinceMs,
      untilMs,
      afterId,
      at,
      untilMs,
      pageSize,
    );
    const last = rows.at(-1);
    return {
      paths: rows.map((row) => `${String(row.repository)}/${String(row.file)}`),
      next: rows.length === pageSize && last ? Number(last.id) : null,
    };
  }

  /** The last instant up to which everything that left has left generation `at` too; null: nothing left after it. */
  pruneLimit(at: number): number | null {
    const row = this.#db.get('SELECT min(removed_at) AS first FROM package WHERE removed > ?', at);
    return row === undefined || row.first === null ? null : Number(row.first) - 1;
  }

  /** Everything that expired up to `untilMs` for generation `at` is gone from our trees. */
  markPruned(untilMs: number, at: number): void {
    this.#db.run(
      'UPDATE package SET pruned = 1 WHERE pruned = 0 AND removed IS NOT NULL AND +removed <= ? AND removed_at <= ?',
      at,
      untilMs,
    );
  }

  /** Removal time of the earliest package that is not pruned yet. */
  earliestUnpruned(): number | null {
    const row = this.#db.get('SELECT min(removed_at) AS at FROM package WHERE removed IS NOT NULL AND pruned = 0');
    return row === undefined || row.at === null ? null : Number(row.at);
  }

  /** The trees that exist, with the generation each one has caught up to, and when it stopped being the served one. */
  trees(): { readonly name: string; readonly generation: number; readonly leftAtMs: number | null }[] {
    return this.#db.all('SELECT * FROM tree ORDER BY name').map((row) => ({
      name: String(row.name),
      generation: Number(row.generation),
      leftAtMs: row.left_at === null ? null : Number(row.left_at),
    }));
  }

  setTree(name: string, generation: number, leftAtMs: number | null): void {
    this.#db.run(
      'INSERT INTO tree (name, generation, left_at) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET generation = excluded.generation, left_at = excluded.left_at',
      name,
      generation,
      leftAtMs,
    );
  }

  /** Pages in the order in which the packages came, which is what the index on `added` gives without sorting. */
  *#since(where: string, values: readonly number[]): Generator<readonly PackageRow[]> {
    let after: Row = { added: 0, id: 0 };
    for (;;) {
      const rows: Row[] = this.#db.all(
        `SELECT ${columns}, added FROM package WHERE ${where} AND (added, id) > (?, ?) ORDER BY added, id LIMIT ?`,
        ...values,
        Number(after.added),
        Number(after.id),
        pageSize,
      );
      const last = rows.at(-1);
      if (last) yield rows.map(toPackageRow);
      if (!last || rows.length < pageSize) return;
      after = last;
    }
  }
}

export function toGeneration(row: Row | undefined): Generation | null {
  if (!row) return null;
  return {
    number: Number(row.number),
    publishedAtMs: Number(row.published_at),
    tree: String(row.tree),
    batch: String(row.batch),
    added: Number(row.added),
    removed: Number(row.removed),
  };
}
