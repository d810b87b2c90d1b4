/** Plans what a mirror is sent: from records when we know what it holds, from a comparison when we do not. Pure. */
import type { IndexRow, PackageRow } from '../store/generations.ts';
import type { PushFile, RemoteFile } from './transport.ts';

/** The files of a page of packages, as they lie in a tree and on a mirror. */
export function filesOf(rows: readonly PackageRow[]): PushFile[] {
  return rows.map((row) => ({ path: `${row.repository}/${row.file}`, size: row.size, mtimeSeconds: row.mtimeSeconds }));
}

/** The index files of `indexes`. */
export function indexFilesOf(indexes: readonly IndexRow[]): PushFile[] {
  return indexes.map((index) => ({
    path: `${index.repository}/${index.file}`,
    size: index.size,
    mtimeSeconds: index.mtimeSeconds,
  }));
}

/** Those of `files` (all of one directory) that the mirror does not hold with this size and time. */
export function planComparison(files: readonly PushFile[], remote: ReadonlyMap<string, RemoteFile>): PushFile[] {
  return files.filter((file) => {
    const there = remote.get(file.path.slice(file.path.lastIndexOf('/') + 1));
    return there?.size !== file.size || there.mtimeSeconds !== file.mtimeSeconds;
  });
}

/**
 * Splits files of one directory into what can go `now` and what takes the place of other bytes and goes `later`, with the
 * indexes. More than `room` files are not kept back: then all go now.
 */
export function splitReplacing(
  files: readonly PushFile[],
  remote: ReadonlyMap<string, RemoteFile>,
  room: number,
): { readonly now: readonly PushFile[]; readonly later: readonly PushFile[] } {
  const isThere = ({ path }: PushFile): boolean => remote.has(path.slice(path.lastIndexOf('/') + 1));
  const later = files.filter(isThere);
  return later.length > room ? { now: files, later: [] } : { now: files.filter((file) => !isThere(file)), later };
}

/** Names on a mirror that are ours to remove when nothing needs them: packages and left-over temporary files of a push. */
export function isOursToRemove(name: string): boolean {
  return /^[^.].*\.apk$/.test(name) || isTemporary(name);
}

/** What a push that was cut off leaves: a temporary file of ours or of rsync. */
export function isTemporary(name: string): boolean {
  return /^\..+\.(lockstepd-)?[A-Za-z0-9]{6,}$/.test(name);
}
