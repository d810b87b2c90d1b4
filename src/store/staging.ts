/** Candidates: what an uploaded index names, row by row, until the batch is published or dropped. Lives as long as the process. */
import type { IndexEntry } from '../apk/entry.ts';
import { packageFileName } from '../apk/entry.ts';
import type { VerificationCode } from '../errors.ts';
import type { Database, Row } from './database.ts';

/** `missing`: not seen in the inbox; `present`: seen with the right size; `ready`: verified private copy or published bytes; `failed`: refused. */
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
  readonly state: 'missing' | 'failed';
  readonly code: VerificationCode | null;
  readonly detail: string | null;
  readonly held: boolean;
}

/** Bytes that were verified before under the same identity: a copy of this inbox, or a published file. */
export interface KnownPackage {
  /** Relative to the root. */
  readonly source: string;
  readonly sha256: string;
  readonly mtimeSeconds: number;
  readonly packageArch: string | null;
  readonly signedBy: string | null;
}

const pageSize = 500;

export class StagingStore {
  readonly #db: Database;
  #next = 1;

  constructor(db: Database) {
    this.#db = db;
  }

  newCandidate(): number {
    return this.#next++;
  }

  /** Adds entries as the index is read. A name twice keeps the first: the verifier refuses such an index anyway. */
  add(candidate: number, entries: readonly IndexEntry[]): void {
    this.#db.transaction(() => {
      for (const e of entries) {
        this.#db.run(
          'INSERT OR IGNORE INTO staged (candidate, file, name, version, arch, identity, size, build_time) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
          candidate,
          packageFileName(e),
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

  drop(candidate: number): void {
    this.#db.run('DELETE FROM staged WHERE candidate = ?', candidate);
  }

  /** Marks what `repository` already serves under the same name and identity as not wanted. Yields between pieces, so that the caller may. */
  *compareWithPublished(candidate: number, repository: string): Generator<void> {
    const bounds = this.#db.get('SELECT min(id) AS low, max(id) AS high FROM staged WHERE candidate = ?', candidate);
    if (!bounds || bounds.low === null) return;
    for (let low = Number(bounds.low); low <= Number(bounds.high); low += 5000) {
      this.#db.run(
        `UPDATE staged SET wanted = 0 WHERE candidate = ? AND id >= ? AND id < ? AND EXISTS
           (SELECT 1 FROM package p WHERE p.repository = ? AND p.file = staged.file AND p.removed IS NULL
            AND p.identity = staged.identity AND p.size = staged.size AND p.present = 1)`,
        candidate,
        low,
        low + 5000,
        repository,
      );
      yield;
    }
  }

  /** How many packages of `repository` would leave its index without a successor of the same name. */
  removals(candidate: number, repository: string): number {
    return Number(
      this.#db.get(
        `SELECT count(*) AS n FROM package p WHERE p.repository = ? AND p.removed IS NULL AND p.present = 1 AND NOT EXISTS
           (SELECT 1 FROM staged s WHERE s.candidate = ? AND s.name = p.name)`,
        repository,
        candidate,
      )?.n,
    );
  }

  /** Wanted rows that are in one of `states`, page by page. Rows may change their state between pages. */
  *rows(candidate: number, states: readonly StagedState[]): Generator<readonly StagedRow[]> {
    const marks = states.map(() => '?').join(', ');
    let after = 0;
    for (;;) {
      const rows = this.#db.all(
        `SELECT * FROM staged WHERE candidate = ? AND wanted = 1 AND state IN (${marks}) AND id > ? ORDER BY id LIMIT ?`,
        candidate,
        ...states,
        after,
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
    this.#db.run('UPDATE staged SET state = ?, stat = ?, code = NULL, detail = ?, held = 0 WHERE id = ?', state, stat, detail, id);
  }

  setFailed(id: number, stat: string, failure: { readonly code: VerificationCode; readonly detail: string; readonly held: boolean }): void {
    this.#db.run(
      "UPDATE staged SET state = 'failed', stat = ?, code = ?, detail = ?, held = ? WHERE id = ?",
      stat,
      failure.code,
      failure.detail,
      failure.held ? 1 : 0,
      id,
    );
  }

  setReady(id: number, known: KnownPackage): void {
    this.#db.run(
      "UPDATE staged SET state = 'ready', code = NULL, source = ?, sha256 = ?, mtime = ?, package_arch = ?, signed_by = ? WHERE id = ?",
      known.source,
      known.sha256,
      known.mtimeSeconds,
      known.packageArch,
      known.signedBy,
      id,
    );
  }

  /** The bytes of these rows may have gone with another candidate or tree: look again. */
  forgetReady(): void {
    this.#db.run("UPDATE staged SET state = 'missing', stat = NULL, source = NULL WHERE state = 'ready'");
  }

  /** Wanted rows by state. */
  counts(candidate: number): Readonly<Record<StagedState, number>> {
    const counts = { missing: 0, present: 0, ready: 0, failed: 0 };
    for (const row of this.#db.all('SELECT state, count(*) AS n FROM staged WHERE candidate = ? AND wanted = 1 GROUP BY state', candidate)) {
      counts[row.state as StagedState] = Number(row.n);
    }
    return counts;
  }

  /** The first `limit` rows that stand in the way, by name. */
  problems(candidate: number, limit: number): StagedProblem[] {
    return this.#db
      .all("SELECT * FROM staged WHERE candidate = ? AND wanted = 1 AND state IN ('missing', 'failed') ORDER BY file LIMIT ?", candidate, limit)
      .map((row) => ({
        file: String(row.file),
        state: row.state as 'missing' | 'failed',
        code: row.code as VerificationCode | null,
        detail: row.detail === null ? null : String(row.detail),
        held: Number(row.held) === 1,
      }));
  }

  /** Bytes of the wanted rows that must be copied. */
  bytesToCopy(candidate: number): number {
    return Number(this.#db.get("SELECT coalesce(sum(size), 0) AS n FROM staged WHERE candidate = ? AND wanted = 1 AND state = 'present'", candidate)?.n);
  }

  /** Verified bytes with the identity, size and name of `entry`: published now, or copied for a candidate of `builder`'s inbox. */
  known(entry: IndexEntry, currentTree: string | null): KnownPackage | null {
    const file = packageFileName(entry);
    const copied = this.#db.get(
      "SELECT * FROM staged WHERE identity = ? AND size = ? AND file = ? AND state = 'ready' AND source IS NOT NULL LIMIT 1",
      entry.identity,
      entry.size,
      file,
    );
    if (copied) return toKnown(copied, String(copied.source), copied.package_arch);
    if (currentTree === null) return null;
    const published = this.#db.get(
      'SELECT * FROM package WHERE identity = ? AND size = ? AND file = ? AND removed IS NULL AND present = 1 LIMIT 1',
      entry.identity,
      entry.size,
      file,
    );
    return published ? toKnown(published, `trees/${currentTree}/${String(published.repository)}/${file}`, published.arch) : null;
  }
}

function toKnown(row: Row, source: string, arch: unknown): KnownPackage {
  return {
    source,
    sha256: String(row.sha256),
    mtimeSeconds: Number(row.mtime),
    packageArch: arch === null ? null : String(arch),
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
    },
  };
}
