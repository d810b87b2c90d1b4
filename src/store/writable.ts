/** Remembers whether state.db could be written the last time somebody tried: a full disk is seen by whoever asks, not only in the log. */
import { messageOf } from '../errors.ts';

/** SQLite's codes for a file that cannot be written: read-only, I/O error, full, cannot be opened; sqlite.org/rescode.html. */
const unwritable = [8, 10, 13, 14];
/** What failed may never be tried again, because its upload is gone: so many other writes say that all is well. */
const enoughWrites = 20;
/** A write to the tables of candidates says nothing: they lie in a temporary file of their own. */
const temporary = /^\s*(?:INSERT(?: OR \w+)? INTO|UPDATE|DELETE FROM)\s+(?:staged|leaving)\b/;

/** What to tell of an error that says that state.db cannot be written; null: it says something else. */
export function writeProblemOf(error: unknown): string | null {
  if (!(error instanceof Error) || !('errcode' in error) || typeof error.errcode !== 'number') return null;
  if (!unwritable.includes(error.errcode & 0xff)) return null;
  return `state.db cannot be written: ${messageOf(error)}: make room on its disk, or look at what holds it`;
}

export class WriteWatch {
  #problem: { readonly sql: string; readonly detail: string; writes: number } | null = null;

  /** What went wrong, as long as nothing shows that it is over; null: nothing did. */
  get problem(): string | null {
    return this.#problem?.detail ?? null;
  }

  failed(sql: string, error: unknown): void {
    if (!(error instanceof Error) || !('errcode' in error) || typeof error.errcode !== 'number') return;
    if (unwritable.includes(error.errcode & 0xff)) this.#problem = { sql, detail: messageOf(error), writes: 0 };
  }

  /** `sql` has changed something, for good. */
  succeeded(sql: string): void {
    if (this.#problem === null || temporary.test(sql)) return;
    this.#problem.writes++;
    if (sql === this.#problem.sql || this.#problem.writes >= enoughWrites) this.#problem = null;
  }
}
