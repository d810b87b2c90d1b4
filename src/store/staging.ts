/** Candidates: what an uploaded index adds to its repository and takes away, row by row, until it is published or dropped. Lives as long as the process. */
import type { IndexEntry, IndexFileName } from '../apk/entry.ts';
import { packageFileName } from '../apk/entry.ts';
import type { VerificationCode } from '../errors.ts';
import { Bits } from './bits.ts';
import type { Database, Row } from './database.ts';
import { countRemovals, demandOf, findConflict, findPublished, type Place, pieceSize } from './staging-queries.ts';

/** `missing`: not seen in the inbox; `present`: seen with the right size; `ready`: a verified private copy lies there; `failed`: refused. */
export type StagedState = 'missing' | 'present' | 'ready' | 'failed';

export interface StagedRow {
  readonly id: number;
  readonly file: string;
  readonly entry: IndexEntry;
  readonly state: StagedState;
  /** What stat said when the state was decided; another value means: look again. */
  readonly stat: string | null;
}

export interface StagedProblem {
  readonly file: string;
  readonly code: VerificationCode | null;
  readonly detail: string | null;
}

/** A verified file. */
export interface ReadyPackage {
  /** Relative to the root. */
  readonly source: string;
  readonly sha256: string;
  readonly mtimeSeconds: number;
  readonly packageArch: string | null;
  readonly signedBy: string | null;
}

/** Bytes of the same builder that were verified before under the same identity: a private copy, or a file that is served now. */
export interface KnownPackage extends ReadyPackage {
  readonly published: boolean;
}

/** How the index differs from the one that is served. */
export interface Difference {
  /** The generation since which the repository has its present index; null: it has none. */
  readonly base: number | null;
  /** Packages that the repository serves now. */
  readonly live: number;
  /** How many of them would leave without a successor of the same name. */
  readonly removals: number;
}

/** Rows that become objects at a time: few enough to die young. */
const pageSize = 500;

interface Reading {
  readonly builder: string;
  readonly place: Place;
  /** Ids of served packages that the index names unchanged. */
  readonly unchanged: Bits;
}

export class StagingStore {
  readonly #db: Database;
  readonly #reading = new Map<number, Reading>();
  readonly #places = new Map<number, Place>();
  #next = 1;

  constructor(db: Database) {
    this.#db = db;
  }

  newCandidate(builder: string, repository: string, indexFile: IndexFileName): number {
    const candidate = this.#next++;
    const place = { repository, indexFile };
    this.#places.set(candidate, place);
    this.#reading.set(candidate, { builder, place, unchanged: new Bits() });
    return candidate;
  }

  /**
   * Takes a slice of the index as it is read; what the repository serves already under the same name and identity is only
   * ticked off. A name twice keeps the first: the verifier refuses such an index anyway.
   */
  add(candidate: number, entries: readonly IndexEntry[]): void {
    const reading = this.#reading.get(candidate);
    if (!reading) throw new RangeError(`candidate ${candidate} was compared already`);
    this.#db.transaction(() => {
      for (const e of entries) {
        const file = packageFileName(e);
        const served = this.#db.get(
          'SELECT id, name, version, identity, size, present FROM package WHERE repository = ? AND index_file = ? AND file = ? AND removed IS NULL',
          reading.place.repository,
          reading.place.indexFile,
          file,
        );
        // With a rule for file names of its own an index may give another version the file of this one.
        const same = served?.identity === e.identity && served.name === e.name && served.version === e.version;
        if (same && served.size === e.size && served.present === 1) {
          reading.unchanged.add(Number(served.id));
          continue;
        }
        this.#db.run(
          'INSERT OR IGNORE INTO staged (candidate, builder, file, name, version, arch, identity, size, build_time) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)',
          candidate,
          reading.builder,
          file,
          e.name,
          e.version,
          e.arch,
          e.identity,
          e.size,
          e.buildTime,
        );
      }
    });
  }

  /** After the last slice: finds what the index does not name any more. Yields between pieces, so that the caller may. */
  *compare(candidate: number): Generator<void, Difference> {
    const reading = this.#reading.get(candidate);
    if (!reading) throw new RangeError(`candidate ${candidate} was compared already`);
    this.#reading.delete(candidate);
    const { place, unchanged } = reading;
    const { repository, indexFile } = place;
    const base = this.#db.get(
      'SELECT since FROM repository_index WHERE repository = ? AND file = ? AND until IS NULL',
      repository,
      indexFile,
    );
    let live = 0;
    let after = '';
    for (;;) {
      const rows = this.#db.all(
        'SELECT id, file, name, present FROM package WHERE repository = ? AND index_file = ? AND file > ? AND removed IS NULL ORDER BY file LIMIT ?',
        repository,
        indexFile,
        after,
        pageSize,
      );
      live += rows.filter((row) => row.present === 1).length;
      this.#noteLeaving(
        candidate,
        rows.filter((row) => !unchanged.has(Number(row.id))),
      );
      const last = rows.at(-1);
      if (!last) break;
      after = String(last.file);
      yield;
    }
    return { base: base ? Number(base.since) : null, live, removals: yield* countRemovals(this.#db, candidate, place) };
  }

  /** Null: it is retired. */
  placeOf(candidate: number): Place | null {
    return this.#places.get(candidate) ?? null;
  }

  /** The candidate will not be published (again): what it brings and takes away is of no account for others, though its rows stay until it is dropped. */
  retire(candidate: number): void {
    this.#places.delete(candidate);
  }

  /** Forgets the candidate. Yields between pieces. */
  *drop(candidate: number): Generator<void> {
    this.#reading.delete(candidate);
    this.#places.delete(candidate);
    for (const table of ['staged', 'leaving']) {
      const sql = `DELETE FROM ${table} WHERE id IN (SELECT id FROM ${table} WHERE candidate = ? LIMIT ?)`;
      while (this.#db.run(sql, candidate, pieceSize).changes > 0) yield;
    }
  }

  /** Rows that are in one of `states`, page by page. Rows may change their state between pages. */
  *rows(candidate: number, states: readonly StagedState[]): Generator<readonly StagedRow[]> {
    const marks = states.map(() => '?').join(', ');
    const { low, high } =
      this.#db.get('SELECT min(id) AS low, max(id) AS high FROM staged WHERE candidate = ?', candidate) ?? {};
    let after = Number(low ?? 1) - 1;
    for (;;) {
      // The unary plus keeps SQLite from the index on state: it would sort all rows for each page.
      const rows = this.#db.all(
        `SELECT * FROM staged WHERE +candidate = ? AND +state IN (${marks}) AND id > ? AND id <= ? ORDER BY id LIMIT ?`,
        candidate,
        ...states,
        after,
        Number(high ?? 0),
        pageSize,
      );
      const last = rows.at(-1);
      if (!last) return;
      yield rows.map(toStagedRow);
      after = Number(last.id);
    }
  }

  /** `detail` says what was seen instead of the file that is missing, if anything. */
  setState(id: number, state: 'missing' | 'present', stat: string | null, detail: string | null = null): void {
    this.#db.run(
      'UPDATE staged SET state = ?, stat = ?, code = NULL, detail = ?, held = 0 WHERE id = ?',
      state,
      stat,
      detail,
      id,
    );
  }

  setFailed(
    id: number,
    stat: string,
    failure: { readonly code: VerificationCode; readonly detail: string; readonly held: boolean },
  ): void {
    this.#db.run(
      "UPDATE staged SET state = 'failed', stat = ?, code = ?, detail = ?, held = ? WHERE id = ?",
      stat,
      failure.code,
      failure.detail,
      failure.held ? 1 : 0,
      id,
    );
  }

  setReady(id: number, ready: ReadyPackage): void {
    this.#db.run(
      "UPDATE staged SET state = 'ready', code = NULL, source = ?, sha256 = ?, mtime = ?, package_arch = ?, signed_by = ? WHERE id = ?",
      ready.source,
      ready.sha256,
      ready.mtimeSeconds,
      ready.packageArch,
      ready.signedBy,
      id,
    );
  }

  /** Rows by state. */
  counts(candidate: number): Readonly<Record<StagedState, number>> {
    const counts = { missing: 0, present: 0, ready: 0, failed: 0 };
    for (const row of this.#db.all(
      'SELECT state, count(*) AS n FROM staged WHERE candidate = ? GROUP BY state',
      candidate,
    )) {
      counts[row.state as StagedState] = Number(row.n);
    }
    return counts;
  }

  /** The first `limit` rows that stand in the way: what is wrong before what is missing, by name. */
  problems(candidate: number, limit: number): StagedProblem[] {
    const ofState = (state: StagedState, atMost: number): Row[] =>
      this.#db.all(
        'SELECT file, code, detail FROM staged WHERE candidate = ? AND state = ? ORDER BY file LIMIT ?',
        candidate,
        state,
        atMost,
      );
    const failed = ofState('failed', limit);
    return [...failed, ...ofState('missing', limit - failed.length)].map((row) => ({
      file: String(row.file),
      code: row.code as VerificationCode | null,
      detail: row.detail === null ? null : String(row.detail),
    }));
  }

  /** True when a row was refused for more than a person's yes. */
  hasRejected(candidate: number): boolean {
    return (
      this.#db.get("SELECT 1 FROM staged WHERE candidate = ? AND state = 'failed' AND held = 0 LIMIT 1", candidate) !==
      undefined
    );
  }

  /** The bytes that all rows say they have, and the largest of them; a hostile index can make the sum huge, never wrong. */
  demand(candidate: number): { readonly bytes: number; readonly largest: { file: string; bytes: number } | null } {
    return demandOf(this.#db, candidate);
  }

  /** Bytes of the rows that must be copied. */
  bytesToCopy(candidate: number): number {
    return Number(
      this.#db.get("SELECT total(size) AS n FROM staged WHERE candidate = ? AND state = 'present'", candidate)?.n,
    );
  }

  /** Verified bytes of `builder` with the identity, size, name, version and file name of `entry`. Another builder's were verified under other keys and rules. */
  known(entry: IndexEntry, builder: string): KnownPackage | null {
    const file = packageFileName(entry);
    const copied = this.#db.get(
      `SELECT * FROM staged WHERE identity = ? AND size = ? AND file = ? AND name = ? AND version = ? AND builder = ?
         AND state = 'ready' LIMIT 1`,
      entry.identity,
      entry.size,
      file,
      entry.name,
      entry.version,
      builder,
    );
    if (copied)
      return { ...toReady({ ...copied, arch: copied.package_arch ?? null }, String(copied.source)), published: false };
    const published = findPublished(this.#db, entry, builder);
    if (!published) return null;
    const source = `trees/${String(published.tree)}/${String(published.repository)}/${file}`;
    return { ...toReady(published, source), published: true };
  }

  /**
   * A verified file of the candidate whose name another index of its directory gives to other bytes, published or about to
   * be; null when there is none. Both could not be served.
   */
  conflict(candidate: number): string | null {
    const place = this.#places.get(candidate);
    if (!place) return null;
    const { repository, indexFile } = place;
    const others = [...this.#places].filter(
      ([id, other]) => id !== candidate && other.repository === repository && other.indexFile !== indexFile,
    );
    return findConflict(
      this.#db,
      candidate,
      place,
      others.map(([id]) => id),
    );
  }

  #noteLeaving(candidate: number, rows: readonly Row[]): void {
    this.#db.transaction(() => {
      for (const { id, name, present } of rows) {
        this.#db.run(
          'INSERT INTO leaving (candidate, package, name, present) VALUES (?, ?, ?, ?)',
          candidate,
          Number(id),
          String(name),
          Number(present),
        );
      }
    });
  }
}

function toReady(row: Row, source: string): ReadyPackage {
  return {
    source,
    sha256: String(row.sha256),
    mtimeSeconds: Number(row.mtime),
    packageArch: row.arch === null ? null : String(row.arch),
    signedBy: row.signed_by === null ? null : String(row.signed_by),
  };
}

function toStagedRow(row: Row): StagedRow {
  return {
    id: Number(row.id),
    file: String(row.file),
    state: row.state as StagedState,
    stat: row.stat === null ? null : String(row.stat),
    entry: {
      name: String(row.name),
      version: String(row.version),
      arch: String(row.arch),
      identity: String(row.identity),
      size: Number(row.size),
      buildTime: row.build_time === null ? null : Number(row.build_time),
      file: String(row.file),
    },
  };
}
