/** Brings the schema of state.db from the version it was written with to the newest one: a copy first, then all steps at once or none. */
import { closeSync, fsyncSync, openSync, renameSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { OperationError } from '../errors.ts';

/** What of an open database is needed here. */
interface Connection {
  readonly isTransaction: boolean;
  exec(sql: string): void;
  prepare(sql: string): { get(): Readonly<Record<string, unknown>> | undefined; run(value: string): unknown };
}

/**
 * Carries out the steps that `file` lacks; `user_version` in its header counts those it has. What an upgrade starts from is
 * kept beside it as `FILE.schema-N`. Throws OperationError STATE for a file of a newer version, which is left as it is.
 */
export function migrate(db: Connection, file: string, steps: readonly string[]): void {
  const version = Number(db.prepare('PRAGMA user_version').get()?.user_version);
  if (version > steps.length) {
    throw new OperationError(
      'STATE',
      `state ${file}: written by a newer lockstepd (schema ${version}, this one knows ${steps.length}): install the newer version, or put the copy ${file}.schema-${steps.length} in its place if there is one`,
    );
  }
  if (version === steps.length) return;
  if (version > 0) copyDatabase(db, `${file}.schema-${version}`);
  db.exec('BEGIN IMMEDIATE');
  try {
    for (const sql of steps.slice(version)) db.exec(sql);
    db.exec(`PRAGMA user_version=${steps.length}; COMMIT`);
  } catch (error) {
    if (db.isTransaction) db.exec('ROLLBACK');
    throw error;
  }
}

/** Writes what the database holds now to `target`, whole and durable, replacing what is there in one step. */
export function copyDatabase(db: Connection, target: string): void {
  const temporary = `${target}.${process.pid}.tmp`;
  rmSync(temporary, { force: true });
  try {
    db.prepare('VACUUM INTO ?').run(temporary);
    syncPath(temporary);
    renameSync(temporary, target);
    syncPath(dirname(target));
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

/** Makes a file, or the entries of a directory, survive a power cut. */
export function syncPath(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
