/** The SQLite file behind the store: opening, schema versions, transactions. The only file that knows node:sqlite. */
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type SQLInputValue, type SQLOutputValue, type StatementSync } from 'node:sqlite';
import { messageOf, OperationError } from '../errors.ts';
import { isDamage, isReadOnly, isUnreadable } from './corrupt.ts';
import { copyDatabase, migrate, syncPath } from './migrate.ts';
import { migrations } from './schema.ts';
import { WriteWatch } from './writable.ts';

export type Row = Readonly<Record<string, SQLOutputValue>>;
export type Value = SQLInputValue;

/** A connection with prepared statements kept by their text. All calls are synchronous and short. */
export class Database implements Disposable {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  readonly #writes = new WriteWatch();
  /** The first change of the open transaction, done or tried. */
  #changing: string[] = [];

  private constructor(db: DatabaseSync) {
    this.#db = db;
  }

  /**
   * Opens or creates `file`, brings its schema to the newest version. WAL with full syncs: a commit survives a power cut.
   * Throws OperationError STATE, with SQLite's error as its cause, or the system's where that says more.
   */
  static open(file: string, steps: readonly string[] = migrations): Database {
    try {
      mkdirSync(dirname(file), { recursive: true, mode: 0o750 });
      try {
        return Database.#connect(file, steps);
      } catch (error) {
        // SQLite opens for reading alone what it cannot open for writing, and forgets why: this says it, or it has passed.
        if (isReadOnly(error)) closeSync(openSync(file, 'r+'));
        // It also calls damaged what an error of the disk has kept from it once.
        else if (!isDamage(error)) throw error;
        return Database.#connect(file, steps);
      }
    } catch (error) {
      if (error instanceof OperationError) throw error;
      throw new OperationError(
        'STATE',
        `state ${file}: cannot be opened: ${messageOf(error)}: check the directory's owner and free space`,
        { cause: error },
      );
    }
  }

  static #connect(file: string, steps: readonly string[]): Database {
    const db = new DatabaseSync(file, { timeout: 5000 });
    try {
      db.exec('PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA cache_size=-2048;');
      checkContent(db);
      migrate(db, file, steps);
      db.exec(stagingSchema);
      // A transaction that begins says nothing of it.
      db.exec(`BEGIN; PRAGMA user_version=${steps.length}; ROLLBACK`);
      // SQLite syncs the directory when it makes a file, and does not look whether that went well.
      syncPath(dirname(file));
      return new Database(db);
    } catch (error) {
      db.close();
      throw error;
    }
  }

  run(sql: string, ...values: Value[]): { changes: number } {
    try {
      const changes = Number(this.#prepare(sql).run(...values).changes);
      if (!this.#db.isTransaction) this.#writes.succeeded(sql);
      else if (changes > 0) this.#noteChange(sql);
      return { changes };
    } catch (error) {
      this.#noteChange(sql);
      this.#writes.failed(sql, error);
      throw error;
    }
  }

  /** Why the file could not be written the last time; null when it could. */
  get writeProblem(): string | null {
    return this.#writes.problem;
  }

  get(sql: string, ...values: Value[]): Row | undefined {
    return this.#prepare(sql).get(...values);
  }

  all(sql: string, ...values: Value[]): Row[] {
    return this.#prepare(sql).all(...values);
  }

  /** Runs `work` as one transaction: all of it or nothing. Transactions do not nest. */
  transaction<T>(work: () => T): T {
    this.#changing = [];
    try {
      this.#db.exec('BEGIN IMMEDIATE');
      const result = work();
      this.#db.exec('COMMIT');
      const [first] = this.#changing;
      if (first !== undefined) this.#writes.succeeded(first);
      return result;
    } catch (error) {
      this.#writes.failed(this.#changing[0] ?? 'BEGIN', error);
      // A full disk has ended the transaction already.
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#statements.clear();
    this.#db.close();
  }

  /** Only the first one is kept: it stands for the transaction. */
  #noteChange(sql: string): void {
    if (this.#changing.length === 0) this.#changing.push(sql);
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (!statement) {
      statement = this.#db.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}

/**
 * Writes what `file` holds at this moment to `target`, whole and durable, whether a daemon has it open or not. Throws
 * OperationError STATE.
 */
export function backUpDatabase(file: string, target: string): void {
  try {
    using db = new DatabaseSync(file, { readOnly: true, timeout: 5000 });
    copyDatabase(db, target);
  } catch (error) {
    const hint = isDamage(error)
      ? 'it is damaged: the daemon rebuilds it from the trees when it starts'
      : 'check the owners and the free space of both';
    const detail = `${file}: cannot be copied to ${dirname(target)}: ${messageOf(error)}: ${hint}`;
    throw new OperationError('STATE', `backup: ${detail}`, { cause: error });
  }
}

/** Damage is found now and not when a batch is under way. Throws an error that `isDamage` knows, another one when the file cannot be read. */
function checkContent(db: DatabaseSync): void {
  const look = (): unknown => db.prepare('PRAGMA quick_check(1)').get()?.quick_check;
  let found = look();
  // Of a page that could not be read it does not always say so; an error of the disk that passes damages nothing.
  if (found !== 'ok') found = look();
  if (typeof found === 'string' && isUnreadable(found))
    throw new Error(`disk I/O error: ${found.replaceAll('\n', ' ')}`);
  if (found !== 'ok') throw Object.assign(new Error(String(found)), { errcode: corrupt });
}
const corrupt = 11;

/** SQLite's code for a file that another process has locked, sqlite.org/rescode.html. */
const busy = 5;

/**
 * Keeps every other process from holding `file` (made if it lacks) until disposed, or until this process has ended, however
 * it ended: an exclusive lock of SQLite's, because Node has none of its own. Throws OperationError STATE.
 */
export function holdLock(file: string, what: string): Disposable {
  let db: DatabaseSync | undefined;
  try {
    db = new DatabaseSync(file, { timeout: 0 });
    db.exec('PRAGMA journal_mode=OFF; BEGIN EXCLUSIVE');
    return db;
  } catch (error) {
    db?.close();
    const used = error instanceof Error && 'errcode' in error && error.errcode === busy;
    throw new OperationError(
      'STATE',
      used
        ? `${what}: another lockstepd uses it: stop that one first, or give this one its own`
        : `${what}: cannot be locked: ${file}: ${messageOf(error)}: check the directory's owner and free space`,
      { cause: error },
    );
  }
}

/** What an index brings and takes away, while it is looked at: it lives in a temporary file of SQLite's, so memory does not grow with it. */
const stagingSchema = `
  PRAGMA temp_store=FILE;
  CREATE TEMP TABLE staged (
    id INTEGER PRIMARY KEY,
    candidate INTEGER NOT NULL,
    builder TEXT NOT NULL,
    file TEXT NOT NULL,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    arch TEXT NOT NULL,
    identity TEXT NOT NULL,
    size INTEGER NOT NULL,
    build_time INTEGER,
    state TEXT NOT NULL DEFAULT 'missing',
    stat TEXT,
    code TEXT,
    detail TEXT,
    held INTEGER NOT NULL DEFAULT 0,
    source TEXT,
    sha256 TEXT,
    mtime INTEGER,
    package_arch TEXT,
    signed_by TEXT
  ) STRICT;
  CREATE UNIQUE INDEX temp.staged_file ON staged (candidate, file);
  CREATE INDEX temp.staged_name ON staged (candidate, name);
  CREATE INDEX temp.staged_identity ON staged (identity);
  CREATE INDEX temp.staged_state ON staged (candidate, state);
  CREATE TEMP TABLE leaving (
    id INTEGER PRIMARY KEY,
    candidate INTEGER NOT NULL,
    package INTEGER NOT NULL,
    name TEXT NOT NULL,
    present INTEGER NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX temp.leaving_package ON leaving (candidate, package);
  CREATE INDEX temp.leaving_name ON leaving (candidate, name);
`;
