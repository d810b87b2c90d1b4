/** Finds out whether a file at a local mirror has the same bytes as ours already, so that only its time must be set. */
import { constants } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { errnoOf } from '../errors.ts';
import { finishFile } from '../system/durable.ts';
import type { Files, OpenFile } from '../system/files.ts';
import { readSource } from './source.ts';
import type { PushFile } from './transport.ts';

const pieceBytes = 128 * 1024;

/**
 * True when `path` had the content of `source` and has now its time and mode too, durably. False when it differs, is no
 * regular file, or may not be touched: it is then to be replaced. `onPiece` is called for each piece that was equal.
 */
export async function adoptEqual(
  path: string,
  source: FileHandle,
  file: PushFile,
  signal: AbortSignal,
  onPiece: () => void,
  files: Files,
): Promise<boolean> {
  let present: OpenFile;
  try {
    present = await files.open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (['ENOENT', 'ELOOP', 'EACCES', 'ENXIO'].includes(errnoOf(error) ?? '')) return false;
    throw error;
  }
  try {
    const facts = await present.stat();
    // Another name of the file may belong to somebody else, who wants his own time on it.
    if (!facts.isFile() || facts.size !== file.size || facts.nlink !== 1) return false;
    if (!(await hasContentOf(present, source, file, signal, onPiece))) return false;
    await finishFile(present, { mtimeSeconds: file.mtimeSeconds });
    return true;
  } catch (error) {
    if (errnoOf(error) === 'EPERM') return false;
    throw error;
  } finally {
    await present.close();
  }
}

async function hasContentOf(
  present: OpenFile,
  source: FileHandle,
  file: PushFile,
  signal: AbortSignal,
  onPiece: () => void,
): Promise<boolean> {
  const [ours, theirs] = [Buffer.allocUnsafe(pieceBytes), Buffer.allocUnsafe(pieceBytes)];
  for (let offset = 0; offset < file.size; offset += pieceBytes) {
    signal.throwIfAborted();
    const length = Math.min(pieceBytes, file.size - offset);
    await readSource(source, ours.subarray(0, length), offset, file);
    const { bytesRead } = await present.read(theirs, 0, length, offset);
    if (bytesRead !== length || ours.compare(theirs, 0, length, 0, length) !== 0) return false;
    onPiece();
  }
  return true;
}
