/** A state.db that is no database any more: how it shows, and how it is put aside so that a new one can take its place. */
import { existsSync, renameSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { syncPath } from './migrate.ts';

/** SQLite's codes for content that is damaged or none of a database, sqlite.org/rescode.html; extended codes have them in the low byte. */
const damaged = [11, 26];

/** True when `error`, or what it was caused by, says that the file's content is damaged, and not that it cannot be had. */
export function isDamage(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if ('errcode' in error && typeof error.errcode === 'number') return damaged.includes(error.errcode & 0xff);
  return isDamage(error.cause);
}

/** True when SQLite has a file open for reading alone: its code 8 and the extensions of it. */
export function isReadOnly(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && (Number(error.errcode) & 0xff) === 8;
}

/**
 * True when what `PRAGMA quick_check` has found is a page that could not be read: that says nothing about the content, and a
 * state that is put aside for a passing error of the disk is a state lost. SQLite's code 10 and its extensions.
 */
export function isUnreadable(found: string): boolean {
  const code = /(?:unable to get the page\. error code=|returns error code )(\d+)/.exec(found)?.[1];
  return code !== undefined && (Number(code) & 0xff) === 10;
}

/** Renames the file and its log to `FILE.corrupt-TIMESTAMP` and returns that name. */
export function setAside(file: string, nowMs: number): string {
  const stamp = new Date(nowMs).toISOString().slice(0, 19).replaceAll(/[-:]/g, '');
  let aside = `${file}.corrupt-${stamp}`;
  for (let n = 2; existsSync(aside); n++) aside = `${file}.corrupt-${stamp}-${n}`;
  // The log first: left behind, it would be taken for that of the new file.
  if (existsSync(`${file}-wal`)) renameSync(`${file}-wal`, `${aside}-wal`);
  rmSync(`${file}-shm`, { force: true });
  renameSync(file, aside);
  syncPath(dirname(file));
  return aside;
}
