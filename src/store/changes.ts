/** What a candidate changes in its repository, package name by package name: counts of each kind, and the first few by name; and what tells changed bytes from those before. */
import { type ChangeKind, changeKinds, changesOfName, type PackageChange, type PackageOfName } from '../apk/changes.ts';
import type { Database, Row } from './database.ts';
import type { Place } from './staging-queries.ts';

export interface Changes {
  readonly counts: Readonly<Record<ChangeKind, number>>;
  /** The first of each kind, by name. */
  readonly first: Readonly<Record<ChangeKind, readonly PackageChange[]>>;
}

export const noChanges: Changes = { counts: emptyOf(() => 0), first: emptyOf(() => []) };

/** What quick checks see of a file, and what it is. */
interface PackageBytes {
  readonly size: number;
  readonly mtimeSeconds: number;
  readonly sha256: string;
}

/** Names that are looked at between two pauses. */
const pageSize = 200;

export class ChangeStore {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** After `compare`: reads what the candidate brings and takes away, keeping `limit` changes of each kind. Yields between pieces. */
  *of(candidate: number, place: Place, limit: number): Generator<void, Changes> {
    const collected = new Collected(limit);
    if (!this.#hadPackages(place.repository)) return this.#allNew(candidate, limit);
    let after = '';
    for (;;) {
      const names = this.#names(candidate, after);
      for (const name of names) {
        const { before, kept, left } = this.#held(candidate, place, name);
        collected.add(changesOfName(name, before, [...kept, ...this.#brought(candidate, name)], left));
      }
      const last = names.at(-1);
      if (last === undefined) return collected;
      after = last;
      yield;
    }
  }

  /** What goes when the index goes. Yields between pieces. */
  *ofRemoval({ repository, indexFile }: Place, limit: number): Generator<void, Changes> {
    const collected = new Collected(limit);
    let after = '';
    for (;;) {
      const rows = this.#db.all(
        'SELECT file, name, version FROM package WHERE repository = ? AND index_file = ? AND file > ? AND removed IS NULL AND present = 1 ORDER BY file LIMIT ?',
        repository,
        indexFile,
        after,
        pageSize,
      );
      collected.add(
        rows.map((row) => ({ kind: 'removed', name: String(row.name), from: String(row.version), to: null })),
      );
      const last = rows.at(-1);
      if (last === undefined) return collected;
      after = String(last.file);
      yield;
    }
  }

  /**
   * A modification time that tells the file from every other one that was published under its path: `mtimeSeconds` itself,
   * unless one of the same size had that time. Quick checks of whoever mirrors us look at size and second only.
   */
  distinctMtime(path: { readonly repository: string; readonly file: string }, of: PackageBytes): number {
    const others = this.#db.all(
      'SELECT mtime FROM package WHERE repository = ? AND file = ? AND size = ? AND present = 1 AND sha256 <> ?',
      path.repository,
      path.file,
      of.size,
      of.sha256,
    );
    const times = others.map((row) => Number(row.mtime));
    return times.includes(of.mtimeSeconds) ? Math.max(...times) + 1 : of.mtimeSeconds;
  }

  /** Of a repository that never had a package, without a look at each name. */
  #allNew(candidate: number, limit: number): Changes {
    const count = this.#db.get('SELECT count(*) AS n FROM staged WHERE candidate = ?', candidate);
    const rows = this.#db.all(
      'SELECT name, version FROM staged WHERE candidate = ? ORDER BY name LIMIT ?',
      candidate,
      limit,
    );
    const added = rows.map(
      (row): PackageChange => ({ kind: 'added', name: String(row.name), from: null, to: String(row.version) }),
    );
    return { counts: { ...noChanges.counts, added: Number(count?.n) }, first: { ...noChanges.first, added } };
  }

  #names(candidate: number, after: string): string[] {
    const some = (table: 'staged' | 'leaving'): string =>
      `SELECT * FROM (SELECT DISTINCT name FROM ${table} WHERE candidate = ? AND name > ? ORDER BY name LIMIT ${pageSize})`;
    return this.#db
      .all(
        `${some('staged')} UNION ${some('leaving')} ORDER BY name LIMIT ${pageSize}`,
        candidate,
        after,
        candidate,
        after,
      )
      .map((row) => String(row.name));
  }

  #brought(candidate: number, name: string): PackageOfName[] {
    return this.#db
      .all('SELECT version, identity FROM staged WHERE candidate = ? AND name = ?', candidate, name)
      .map(toPackage);
  }

  #hadPackages(repository: string): boolean {
    return this.#db.get('SELECT 1 FROM package WHERE repository = ? LIMIT 1', repository) !== undefined;
  }

  #held(
    candidate: number,
    { repository, indexFile }: Place,
    name: string,
  ): Record<'before' | 'kept' | 'left', PackageOfName[]> {
    const rows = this.#db.all(
      `SELECT version, identity, removed IS NULL AS current,
         EXISTS (SELECT 1 FROM leaving k WHERE k.candidate = ? AND k.package = p.id) AS leaves
       FROM package p WHERE p.repository = ? AND p.name = ? AND p.index_file = ? AND p.present = 1
         AND (p.removed IS NULL OR p.pruned = 0)`,
      candidate,
      repository,
      name,
      indexFile,
    );
    // The path of a file that only another index of the directory named, and that clients may still ask for.
    const elsewhere = this.#db.all(
      `SELECT version, identity FROM package WHERE repository = ? AND name = ? AND index_file <> ? AND present = 1
         AND removed IS NOT NULL AND pruned = 0 AND file IN (SELECT file FROM staged WHERE candidate = ? AND name = ?)`,
      repository,
      name,
      indexFile,
      candidate,
      name,
    );
    const of = (condition: (row: Row) => boolean): PackageOfName[] => rows.filter(condition).map(toPackage);
    return {
      before: of((row) => row.current === 1),
      kept: of((row) => row.current === 1 && row.leaves === 0),
      left: [...of((row) => row.current === 0), ...elsewhere.map(toPackage)],
    };
  }
}

class Collected implements Changes {
  readonly counts = emptyOf(() => 0);
  readonly first = emptyOf((): PackageChange[] => []);
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  add(changes: readonly PackageChange[]): void {
    for (const change of changes) {
      this.counts[change.kind]++;
      if (this.first[change.kind].length < this.#limit) this.first[change.kind].push(change);
    }
  }
}

function emptyOf<T>(value: () => T): Record<ChangeKind, T> {
  return Object.fromEntries(changeKinds.map((kind) => [kind, value()])) as Record<ChangeKind, T>;
}

function toPackage(row: Row): PackageOfName {
  return { version: String(row.version), identity: String(row.identity) };
}
