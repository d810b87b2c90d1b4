/** The directory transport: a mirror on a local or mounted file system, written durably and without following symbolic links. */
import { constants } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { errnoOf, messageOf, TransportError } from '../errors.ts';
import { type Clock, systemClock } from '../system/clock.ts';
import { finishFile } from '../system/durable.ts';
import { diskFiles, type Files, type OpenFile } from '../system/files.ts';
import { escapeText } from '../system/log.ts';
import { threadsOfHungDirectory } from '../system/threads.ts';
import { adoptEqual } from './directory-same.ts';
import { DirectoryTree } from './directory-tree.ts';
import { localFault } from './faults.ts';
import { openSource, readSource } from './source.ts';
import { deadlineFor, withStallWatch } from './stall.ts';
import { temporaryName } from './temporary.ts';
import {
  bytesOf,
  type Pace,
  type PushFile,
  type RemoteFile,
  type Transport,
  type TransportOptions,
} from './transport.ts';

export interface DirectoryTransportOptions {
  /** Absolute path of the mirror's root; it must exist. It may itself be a symbolic link, nothing below it may. */
  readonly path: string;
  readonly clock?: Clock;
  /** A call without any progress for this long ends in `timeout`, default 60 s (a hung network file system). */
  readonly stallMs?: number;
  /** Where the mirror lies, default on the disk. */
  readonly files?: Files;
}

/** A file system that hangs keeps as many of the process's threads: they must not be all (see system/threads.ts). */
const workers = threadsOfHungDirectory;
const copyBytes = 256 * 1024;
/** What was broken off ends within the copy of a piece, where the file system answers. */
const patienceMs = 2000;

/** Every call opens the root anew, so that a disk that was mounted meanwhile is used. */
export function createDirectoryTransport(options: DirectoryTransportOptions): Transport {
  const { path, clock = systemClock, stallMs = 60_000, files = diskFiles } = options;
  /** A call that was given up goes on until the system lets it go. */
  let inHand: Promise<void> | null = null;

  /** True once the call before has ended; false when it does not come to that soon. */
  async function isFree(signal: AbortSignal): Promise<boolean> {
    const stop = new AbortController();
    const patience = clock.sleep(Math.min(stallMs, patienceMs), { signal: AbortSignal.any([signal, stop.signal]) });
    try {
      await Promise.race([inHand, patience]);
    } finally {
      stop.abort(new Error('the wait is over'));
    }
    return inHand === null;
  }

  async function call<T>(
    { signal, onBytes }: TransportOptions,
    work: (tree: DirectoryTree, signal: AbortSignal, onBytes: (bytes: number) => void) => Promise<T>,
    toMove = 0,
  ): Promise<T> {
    signal.throwIfAborted();
    if (inHand && !(await isFree(signal))) throw stillHung(path);
    const watch = { clock, stallMs, deadlineMs: deadlineFor(toMove), signal, onStall: () => {} };
    return withStallWatch(watch, async (inner, alive) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      inHand = promise;
      try {
        await using tree = await DirectoryTree.open(path, files);
        return await work(tree, inner, (bytes) => {
          alive();
          if (bytes > 0) onBytes?.(bytes);
        });
      } catch (error) {
        inner.throwIfAborted();
        if (error instanceof TransportError) throw error;
        const { reason, kind, message } = localFault(errnoOf(error), escapeText(`${path}: ${messageOf(error)}`));
        throw new TransportError(reason, kind, message, { cause: error });
      } finally {
        inHand = null;
        resolve();
      }
    });
  }

  return {
    list: (directory, callOptions) =>
      call(callOptions, (tree, signal, onBytes) => listDirectory(files, tree, directory, signal, () => onBytes(0))),
    put: (sourceRoot, waves, callOptions) =>
      call(
        callOptions,
        async (tree, signal, onBytes) => {
          const { gate, pace } = callOptions;
          // Synced before the second wave: what it names may have been placed by a process that did not live to sync it.
          for (const directory of new Set(waves.flat().map((file) => posix.dirname(file.path)))) {
            await tree.entry(directory, '.', { create: true });
            tree.change(directory);
          }
          for (const [n, wave] of waves.entries()) {
            if (n === waves.length - 1) await gate;
            await forEachOf(wave, workers, signal, () => {
              const buffer = Buffer.allocUnsafeSlow(copyBytes);
              return (file) => putFile({ files, tree, sourceRoot, file, buffer, signal, onBytes, pace });
            });
            await tree.sync();
          }
        },
        bytesOf(waves),
      ),
    read: (file, maxBytes, callOptions) =>
      call(callOptions, (tree, signal) => readWhole(files, tree, file, maxBytes, signal)),
    remove: (paths, callOptions) =>
      call(callOptions, async (tree, signal, onBytes) => {
        await forEachOf(paths, workers, signal, () => async (one) => {
          await removeFile(files, tree, one);
          onBytes(0);
        });
        await tree.sync();
      }),
    // Opening the root is what every call begins with.
    check: (callOptions) => call(callOptions, async (tree) => void (await tree.entry('.', '.'))),
    close: () => Promise.resolve(),
  };
}

/** What a call is refused with while an earlier one hangs: it would only keep more threads. */
export function stillHung(path: string): TransportError {
  const message = `${path}: the file system does not answer: is the server of the mount or the disk alive?`;
  return new TransportError('timeout', 'retryable', escapeText(message));
}

async function listDirectory(
  files: Files,
  tree: DirectoryTree,
  directory: string,
  signal: AbortSignal,
  alive: () => void,
): Promise<ReadonlyMap<string, RemoteFile>> {
  const found = new Map<string, RemoteFile>();
  let at: string;
  try {
    at = await tree.entry(directory, '.');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return found;
    throw error;
  }
  await forEachOf(await files.readdir(at), workers, signal, () => async (name) => {
    const facts = await files.lstat(join(at, name));
    if (facts.isFile()) found.set(name, { size: facts.size, mtimeSeconds: Math.floor(facts.mtimeMs / 1000) });
    alive();
  });
  return found;
}

async function readWhole(
  files: Files,
  tree: DirectoryTree,
  path: string,
  maxBytes: number,
  signal: AbortSignal,
): Promise<Buffer | null> {
  let file: OpenFile;
  try {
    const at = await tree.entry(posix.dirname(path), posix.basename(path));
    file = await files.open(at, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null;
    throw error;
  }
  try {
    const facts = await file.stat();
    if (!facts.isFile() || facts.size > maxBytes) return null;
    const bytes = Buffer.alloc(facts.size);
    for (let at = 0; at < bytes.length; ) {
      signal.throwIfAborted();
      const { bytesRead } = await file.read(bytes, at, bytes.length - at, at);
      if (bytesRead === 0) return null;
      at += bytesRead;
    }
    return bytes;
  } finally {
    await file.close();
  }
}

interface Copy {
  readonly files: Files;
  readonly tree: DirectoryTree;
  readonly sourceRoot: string;
  readonly file: PushFile;
  readonly buffer: Buffer;
  readonly signal: AbortSignal;
  readonly onBytes: (bytes: number) => void;
  readonly pace: Pace | undefined;
}

async function putFile(one: Copy): Promise<void> {
  const { files, tree, sourceRoot, file, signal, onBytes } = one;
  const directory = posix.dirname(file.path);
  const name = posix.basename(file.path);
  const source = await openSource(sourceRoot, file);
  try {
    const there = await tree.entry(directory, name, { create: true });
    tree.change(directory);
    if (await adoptEqual(there, source, file, signal, () => onBytes(0), files)) return;
    const temporary = await tree.entry(directory, temporaryName(name), { create: true });
    try {
      const target = await files.open(temporary, 'wx', 0o600);
      try {
        await copy(source, target, one);
        await finishFile(target, { mtimeSeconds: file.mtimeSeconds });
      } finally {
        await target.close();
      }
      signal.throwIfAborted();
      await files.rename(temporary, await tree.entry(directory, name));
    } catch (error) {
      await files.rm(temporary, { force: true });
      throw error;
    }
  } finally {
    await source.close();
  }
}

async function copy(
  source: FileHandle,
  target: OpenFile,
  { file, buffer, signal, onBytes, pace }: Copy,
): Promise<void> {
  for (let offset = 0; offset < file.size; offset += buffer.length) {
    signal.throwIfAborted();
    const chunk = buffer.subarray(0, Math.min(buffer.length, file.size - offset));
    await readSource(source, chunk, offset, file);
    await pace?.(chunk.length, { signal, onWait: () => onBytes(0) });
    for (let written = 0; written < chunk.length; ) {
      const { bytesWritten } = await target.write(chunk, written, chunk.length - written, offset + written);
      written += bytesWritten;
    }
    onBytes(chunk.length);
  }
}

async function removeFile(files: Files, tree: DirectoryTree, path: string): Promise<void> {
  const directory = posix.dirname(path);
  try {
    const entry = await tree.entry(directory, posix.basename(path));
    tree.change(directory);
    await files.unlink(entry);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
}

/**
 * Runs every item through one of `count` workers, each made by `start`. After a failure nothing new is begun; rejects with
 * the first error when all workers have stopped.
 */
async function forEachOf<T>(
  items: readonly T[],
  count: number,
  signal: AbortSignal,
  start: () => (item: T) => Promise<void>,
): Promise<void> {
  let next = 0;
  let failed = false;
  const work = async (): Promise<void> => {
    const run = start();
    for (let item = items[next++]; item !== undefined && !failed; item = items[next++]) {
      signal.throwIfAborted();
      try {
        await run(item);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const ends = await Promise.allSettled(Array.from({ length: Math.min(count, items.length) }, work));
  const bad = ends.find((end) => end.status === 'rejected');
  if (bad) throw bad.reason as Error;
}
