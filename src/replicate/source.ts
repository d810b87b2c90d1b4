/** Our side of a push: the file of the tree, opened and read as the plan says it is. */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf, TransportError } from '../errors.ts';
import type { Clock } from '../system/clock.ts';
import { escapeText } from '../system/log.ts';
import type { PushFile } from './transport.ts';

/** Opens `<sourceRoot>/<path>`; TransportError `vanished` when it is not there with the planned size. */
export async function openSource(sourceRoot: string, file: PushFile): Promise<FileHandle> {
  let source: FileHandle;
  try {
    source = await open(join(sourceRoot, file.path), constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    throw changed(file, messageOf(error));
  }
  // The inode of an open file is in memory: asking a thread for it costs fifty times the call.
  const { size } = fstatSync(source.fd);
  if (size === file.size) return source;
  await source.close();
  throw changed(file, `it has ${size} bytes, expected ${file.size}`);
}

/** Fills `target` from `offset` on. */
export async function readSource(source: FileHandle, target: Buffer, offset: number, file: PushFile): Promise<void> {
  for (let filled = 0; filled < target.length; ) {
    const { bytesRead } = await source.read(target, filled, target.length - filled, offset + filled);
    if (bytesRead === 0) throw changed(file, 'it became shorter');
    filled += bytesRead;
  }
}

/** The event loop may be held up for so long in all by the quick reads of one upload. */
const quickBudgetMs = 10;

/**
 * Reads whole small files without threads. What was just published is in the page cache, where a file costs some 30 us; handed
 * to threads it costs three times that. Time is what tells: where the disk must be waited for, the rest goes the other way.
 */
export class QuickReads {
  readonly #clock: Clock;
  #leftMs = quickBudgetMs;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Fills `target`, as long as the file, or returns false: use a thread. TransportError `vanished` as for `openSource`. */
  read(sourceRoot: string, file: PushFile, target: Buffer): boolean {
    if (this.#leftMs <= 0) return false;
    const startedMs = this.#clock.monotonic();
    let fd: number;
    try {
      fd = openSync(join(sourceRoot, file.path), constants.O_RDONLY | constants.O_NOFOLLOW);
    } catch (error) {
      throw changed(file, messageOf(error));
    }
    try {
      const { size } = fstatSync(fd);
      if (size !== file.size) throw changed(file, `it has ${size} bytes, expected ${file.size}`);
      for (let filled = 0; filled < target.length; ) {
        const bytesRead = readSync(fd, target, filled, target.length - filled, filled);
        if (bytesRead === 0) throw changed(file, 'it became shorter');
        filled += bytesRead;
      }
    } finally {
      closeSync(fd);
      this.#leftMs -= this.#clock.monotonic() - startedMs;
    }
    return true;
  }
}

function changed(file: PushFile, why: string): TransportError {
  return new TransportError(
    'vanished',
    'retryable',
    escapeText(`${file.path}: ${why}: if it stays, run lockstepd scrub on the primary`),
  );
}
