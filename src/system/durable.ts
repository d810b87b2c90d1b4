/** Durable changes on our own disk: a file is written whole and synced under a temporary name, then renamed; a directory is synced. */
import { constants } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { diskFiles, type Files, type OpenFile } from './files.ts';

/** Makes the entries of `directory` (creations, renames, removals) survive a power cut. */
export async function syncDirectory(directory: string, files: Files = diskFiles): Promise<void> {
  const handle = await files.open(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

export interface WriteDurableOptions {
  /** Permission bits, default 0644. */
  readonly mode?: number;
  /** Modification time in whole seconds since the epoch. */
  readonly mtimeSeconds?: number;
}

/** Replaces `path` by `data`: after a crash at any instant the old content or the new one is there, never a part. */
export async function writeFileDurable(
  path: string,
  data: string | Buffer,
  options: WriteDurableOptions = {},
  files: Files = diskFiles,
): Promise<void> {
  const temporary = join(dirname(path), `.lockstepd-${process.pid}-${counter++}.tmp`);
  try {
    const handle = await files.open(temporary, 'wx', 0o600);
    try {
      await handle.writeFile(data);
      await finishFile(handle, options);
    } finally {
      await handle.close();
    }
    await files.rename(temporary, path);
  } catch (error) {
    await files.rm(temporary, { force: true });
    throw error;
  }
  await syncDirectory(dirname(path), files);
}
let counter = 0;

/** Gives an open, wholly written file its mode and time, then syncs it. */
export async function finishFile(
  handle: Pick<OpenFile, 'chmod' | 'utimes' | 'sync'>,
  options: WriteDurableOptions,
): Promise<void> {
  await handle.chmod(options.mode ?? 0o644);
  if (options.mtimeSeconds !== undefined) await handle.utimes(options.mtimeSeconds, options.mtimeSeconds);
  await handle.sync();
}

/** Makes the content of a file survive a power cut; its name is made durable by a sync of its directory. */
export async function syncFile(path: string, files: Files = diskFiles): Promise<void> {
  const handle = await files.open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Gives a file this modification time, durably. */
export async function setMtimeDurable(path: string, mtimeSeconds: number, files: Files = diskFiles): Promise<void> {
  const handle = await files.open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    await handle.utimes(mtimeSeconds, mtimeSeconds);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Creates `directory` and what lacks above it, and syncs every parent that gained an entry. */
export async function makeDirectoryDurable(directory: string, mode = 0o755, files: Files = diskFiles): Promise<void> {
  const first = await files.mkdir(directory, { recursive: true, mode });
  if (first === undefined) return;
  const top = dirname(first);
  for (let parent = dirname(directory); parent.length >= top.length; parent = dirname(parent)) {
    await syncDirectory(parent, files);
    if (parent === top || parent === dirname(parent)) break;
  }
}

/** What an unprivileged process may still write on the file system of `path`, in bytes. */
export async function freeBytes(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(path);
  return bavail * bsize;
}
