/** Plans what a mirror is sent: from records when we know what it holds, from a comparison when we do not. Pure. */
import { traceFile } from '../store/trace.ts';
import type { IndexRow, PackageRow } from '../store/generations.ts';
import { TransportError } from '../errors.ts';
import type { PushFile, RemoteFile, Wave } from './transport.ts';

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
    if (there?.size !== file.size) return true;
    return there.mtimeSeconds !== null && there.mtimeSeconds !== file.mtimeSeconds;
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

/**
 * Throws TransportError when one of the files is damaged here: the mirror may have a good one, and an index that names it
 * must not go where it is lacking.
 */
export function refuseDamaged(waves: readonly Wave[], damaged: ReadonlySet<string>): void {
  if (damaged.size === 0) return;
  for (const { path } of waves.flat()) {
    if (!damaged.has(path)) continue;
    const message = `${path}: damaged on the primary, and no good copy was found: upload it again, or publish an index without it`;
    throw new TransportError('local', 'retryable', message);
  }
}

/** Names on a mirror that are ours to remove when nothing needs them: packages and left-over temporary files of a push. */
export function isOursToRemove(name: string): boolean {
  return /^[^.].*\.apk$/.test(name) || isTemporary(name);
}

/** What a push that was cut off leaves: a temporary file of ours or of rsync, of a name that we push. Other hidden files are not ours. */
export function isTemporary(name: string): boolean {
  const [, of] = /^\.(.+)\.(?:lockstepd-[0-9a-f]{6}|[A-Za-z0-9]{6})$/.exec(name) ?? [];
  if (of === undefined) return false;
  // Both cut a name that would become too long.
  return /\.apk$|^(?:APKINDEX\.tar\.gz|[Pp]ackages\.adb|lockstep\.json)$/.test(of) || of.length > longestKept;
}
const longestKept = 200;

/** Paths of the temporary files of ours among the names of a directory; at the top of a mirror only those of the trace file. */
export function leftOverIn(directory: string, names: Iterable<string>): string[] {
  const ours = [...names].filter(
    (name) => (directory !== '.' || name.startsWith(`.${traceFile}.`)) && isTemporary(name),
  );
  return ours.map((name) => (directory === '.' ? name : `${directory}/${name}`));
}

/** True for the temporary file of an rsync, which may be another one than ours. */
export function isOfKilledRsync(name: string): boolean {
  return isTemporary(name) && !/\.lockstepd-[0-9a-f]{6}$/.test(name);
}
