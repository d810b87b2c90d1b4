/** Reads whole files at a bounded rate and hashes them: never more than a chunk in memory, never faster than it may. */
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';

/** Called with the bytes of each chunk; resolves when the next one may be read. */
export type ReadPace = (bytes: number) => Promise<void>;

interface HashOptions {
  /** Without it the file is read as fast as it comes. */
  readonly pace?: ReadPace | undefined;
  readonly signal?: AbortSignal | undefined;
}

const chunkBytes = 256 * 1024;

/** Hex SHA-256 of a regular file that is not reached through a symbolic link, and its inode. Throws system errors, RangeError for another kind of file. */
export async function hashFile(
  path: string,
  { pace, signal }: HashOptions = {},
): Promise<{ readonly sha256: string; readonly size: number; readonly ino: number }> {
  await using handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  const stat = await handle.stat();
  if (!stat.isFile()) throw new RangeError('no regular file');
  return { ...(await hashHandle(handle, { pace, signal })), ino: stat.ino };
}

async function hashHandle(
  handle: FileHandle,
  { pace, signal }: HashOptions,
): Promise<{ readonly sha256: string; readonly size: number }> {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(chunkBytes);
  let size = 0;
  for (;;) {
    signal?.throwIfAborted();
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, size);
    if (bytesRead === 0) return { sha256: hash.digest('hex'), size };
    hash.update(buffer.subarray(0, bytesRead));
    size += bytesRead;
    await pace?.(bytesRead);
  }
}
