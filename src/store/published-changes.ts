/** What a published generation changed, by the names of its packages. */
import { changesOfName, type PackageChange, type PackageOfName } from '../apk/changes.ts';
import type { Database, Row } from './database.ts';

export interface PublishedChanges {
  /** Names of packages of which something was added, removed or replaced. */
  readonly names: number;
  /** Those of the first names in the order of the alphabet; the same change in several repositories is one. */
  readonly first: readonly PackageChange[];
}

export class PublishedChangeStore {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** With the changes of at most `limit` names, and at most as many changes. */
  of(generation: number, limit: number): PublishedChanges {
    const count = this.#db.get(
      `SELECT count(*) AS n FROM (SELECT name FROM package WHERE added = ?1 UNION SELECT name FROM package WHERE removed = ?1)`,
      generation,
    );
    const names = this.#db
      .all(
        `SELECT name FROM package WHERE added = ?1 UNION SELECT name FROM package WHERE removed = ?1 ORDER BY name LIMIT ?2`,
        generation,
        limit,
      )
      .map((row) => String(row.name));
    const rows = this.#db.all(
      `SELECT name, repository, index_file, version, identity, added = ?1 AS came FROM package
       WHERE (added = ?1 OR removed = ?1) AND name IN (SELECT value FROM json_each(?2)) ORDER BY name, repository, index_file`,
      generation,
      JSON.stringify(names),
    );
    const places = Map.groupBy(rows, ({ name, repository, index_file: file }) =>
      JSON.stringify([name, repository, file]),
    );
    const changes = [...places.values()].flatMap(changesOf);
    const distinct = new Map(changes.map((change) => [JSON.stringify(change), change]));
    return { names: Number(count?.n), first: [...distinct.values()].slice(0, limit) };
  }
}

/** `rows`: of one name in one index. */
function changesOf(rows: readonly Row[]): PackageChange[] {
  const of = (came: number): PackageOfName[] =>
    rows
      .filter((row) => row.came === came)
      .map((row) => ({ version: String(row.version), identity: String(row.identity) }));
  return changesOfName(String(rows[0]?.name), of(0), of(1), []);
}
