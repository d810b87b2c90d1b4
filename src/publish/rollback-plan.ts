/** Decides which indexes a rollback brings back and which leave. Pure. */
import type { IndexRow } from '../store/generations.ts';

export interface RollbackPlan {
  /** Indexes that come back, with the one in whose place each comes; null: there is none now. */
  readonly back: readonly { readonly index: IndexRow; readonly now: IndexRow | null }[];
  /** Indexes that the old generation did not have. */
  readonly leave: readonly IndexRow[];
}

/** `then`: the indexes of the old generation, `now`: those that are served; `repository` null means all of them. */
export function planRollback(
  then: readonly IndexRow[],
  now: readonly IndexRow[],
  repository: string | null,
): RollbackPlan {
  const asked = (row: IndexRow): boolean => repository === null || row.repository === repository;
  const same = (a: IndexRow, b: IndexRow): boolean => a.repository === b.repository && a.file === b.file;
  return {
    back: then
      .filter(asked)
      .map((index) => ({ index, now: now.find((row) => same(row, index)) ?? null }))
      .filter(({ index, now: served }) => served?.sha256 !== index.sha256),
    leave: now.filter((row) => asked(row) && !then.some((index) => same(index, row))),
  };
}
