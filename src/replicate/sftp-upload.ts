/** Brings files over SFTP sessions: every file is written whole under a temporary name, and renamed only after every answer about it was good. */
import type { FileHandle } from 'node:fs/promises';
import { posix } from 'node:path';
import { abortable } from '../system/abortable.ts';
import type { Clock } from '../system/clock.ts';
import type { SftpSession } from '../system/ssh-sftp.ts';
import { openFlag } from '../system/ssh-sftp-wire.ts';
import { BlockPool } from './block-pool.ts';
import { directoryMaker, isNoSuchFile } from './sftp-directories.ts';
import { explainFailure } from './sftp-failure.ts';
import { Spread } from './sftp-spread.ts';
import { openSource, QuickReads, readSource } from './source.ts';
import { temporaryName } from './temporary.ts';
import type { Pace, PushFile, Wave } from './transport.ts';

export interface Upload {
  /** All names are changed by this one, in the order of the calls. */
  readonly session: SftpSession;
  /** More of the same account, over which the files are spread too. */
  readonly others?: readonly SftpSession[];
  /** Root of the mirror at the far side. */
  readonly root: string;
  readonly sourceRoot: string;
  readonly waves: readonly Wave[];
  /** What the files of the last wave wait for besides those before them. */
  readonly gate?: Promise<void> | undefined;
  readonly fsync: boolean;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Told of bytes that the other side has confirmed, and with 0 of any other sign of life. */
  readonly onBytes: (bytes: number) => void;
  readonly pace?: Pace | undefined;
}

/** Files open at a time at the far side (OpenSSH gives out at least 100 handles). */
const maxOpenFiles = 64;
const fileMode = 0o644;

/**
 * Uploads all files; those of all waves travel together, only their renames keep the order. On a failure it starts nothing
 * new, removes the temporary files that it can, and rejects with the first error. Once aborted no file is renamed any more.
 */
export async function uploadFiles(upload: Upload): Promise<void> {
  const { waves, session, others = [], signal } = upload;
  const makeDirectory = directoryMaker(upload);
  const sources = { pool: new BlockPool(session.maxWriteBytes), quick: new QuickReads(upload.clock) };
  const failed = new AbortController();
  const stop = AbortSignal.any([signal, failed.signal]);
  const files = inOrder(waves, upload.gate);
  const places = { left: files.length };
  const spread = new Spread(session, others);
  let next = 0;
  const work = async (): Promise<void> => {
    // Taken in the order of the waves: who waits for an earlier wave waits for files that others have begun.
    for (let one = files[next++]; one && !stop.aborted; one = files[next++]) {
      // The one that is renamed last, as a rule, is synced behind the renames: in one session without waiting for their answers.
      const writer = one === files.at(-1) ? spread.takeFirst() : spread.take();
      await new FileUpload(upload, writer, one, sources, stop, places).run(makeDirectory, one.turn);
      spread.give(writer);
      one.placed();
    }
  };
  const workers = Array.from({ length: Math.min(maxOpenFiles, files.length) }, () =>
    work().catch((error: unknown) => {
      failed.abort(error);
    }),
  );
  await Promise.all(workers);
  signal.throwIfAborted();
  if (failed.signal.aborted) throw failed.signal.reason as Error;
}

interface OrderedFile {
  readonly file: PushFile;
  readonly number: number;
  /** Resolves when every file of the waves before is in its place. */
  readonly turn: Promise<void>;
  /** To be called when this one is. */
  readonly placed: () => void;
}

function inOrder(waves: readonly Wave[], gate: Promise<void> | undefined): OrderedFile[] {
  let turn = Promise.resolve();
  let number = 0;
  return waves.flatMap((wave, n) => {
    const before = gate && n === waves.length - 1 ? bothOf(turn, gate) : turn;
    // Whoever waits for it hears of a failure; when nobody does any more, it is of no account.
    before.catch(() => {});
    let left = wave.length;
    if (left === 0) return [];
    const { promise, resolve } = Promise.withResolvers<void>();
    turn = promise;
    const placed = (): void => {
      left -= 1;
      if (left === 0) resolve();
    };
    return wave.map((file) => ({ file, number: number++, turn: before, placed }));
  });
}

async function bothOf(one: Promise<void>, other: Promise<void>): Promise<void> {
  await Promise.all([one, other]);
}

/** What all files of an upload are read with. */
interface Sources {
  readonly pool: BlockPool;
  readonly quick: QuickReads;
}

class FileUpload {
  readonly #upload: Upload;
  /** The session that its handle belongs to. */
  readonly #writer: SftpSession;
  readonly #file: PushFile;
  /** Its place in the upload. */
  readonly #number: number;
  readonly #finalPath: string;
  readonly #temporaryPath: string;
  readonly #sources: Sources;
  readonly #stop: AbortSignal;
  /** How many files of the upload have yet to be renamed. */
  readonly #places: { left: number };
  readonly #syncs: boolean;
  #handle: Buffer | undefined;
  #closeSent = false;

  constructor(
    upload: Upload,
    writer: SftpSession,
    { file, number }: OrderedFile,
    sources: Sources,
    stop: AbortSignal,
    places: { left: number },
  ) {
    this.#upload = upload;
    this.#writer = writer;
    this.#file = file;
    this.#number = number;
    this.#finalPath = posix.join(upload.root, file.path);
    this.#temporaryPath = posix.join(posix.dirname(this.#finalPath), temporaryName(posix.basename(file.path)));
    this.#sources = sources;
    this.#stop = stop;
    this.#places = places;
    this.#syncs = upload.fsync && writer.extensions.has('fsync@openssh.com');
  }

  async run(makeDirectory: (directory: string) => Promise<void>, turn: Promise<void>): Promise<void> {
    const { session, onBytes } = this.#upload;
    const source: { handle?: FileHandle } = {};
    try {
      this.#handle = await this.#openTemporary(makeDirectory);
      onBytes(0);
      await this.#write(this.#handle, source);
      await abortable(turn, this.#stop);
      await this.#place(this.#handle);
      onBytes(0);
    } catch (error) {
      const failure = this.#stop.aborted ? error : await explainFailure(error, session, this.#upload.root);
      await this.#discard();
      throw failure;
    } finally {
      await source.handle?.close();
    }
  }

  async #openTemporary(makeDirectory: (directory: string) => Promise<void>): Promise<Buffer> {
    const writer = this.#writer;
    const flags = openFlag.write | openFlag.create | openFlag.exclusive;
    try {
      return await writer.open(this.#temporaryPath, flags, fileMode);
    } catch (error) {
      if (!isNoSuchFile(error)) throw error;
    }
    this.#stop.throwIfAborted();
    await makeDirectory(posix.dirname(this.#file.path));
    return writer.open(this.#temporaryPath, flags, fileMode);
  }

  /**
   * Everything but the rename goes out without waiting: what reaches a temporary file after a failed write does no harm. The
   * rename waits for each answer, because nothing obliges a server to skip it when a write before it has failed.
   */
  async #write(handle: Buffer, source: { handle?: FileHandle }): Promise<void> {
    const { onBytes } = this.#upload;
    const writer = this.#writer;
    const { size, mtimeSeconds } = this.#file;
    const { pool } = this.#sources;
    const answers = new Answers();
    for (let offset = 0; offset === 0 || offset < size; ) {
      const length = await this.#room(offset);
      answers.throwIfFailed();
      const block = pool.take(length);
      const reading = this.#fill(block.data, offset, source);
      // Not awaited without need: others would take memory meanwhile, and this block leave the caches before it is sent.
      if (reading) await reading;
      if (length === 0) {
        pool.give(block);
        break;
      }
      const written = writer.write(handle, offset, block, () => pool.give(block)).then(() => onBytes(length));
      // Settled after a failure too: we may be waiting for room, and must come to see the failure.
      answers.add(written.finally(() => pool.settle(this.#number, length)));
      offset += length;
    }
    answers.add(writer.setHandleAttributes(handle, { permissions: fileMode, mtimeSeconds }));
    if (this.#syncs) answers.add(writer.sync(handle));
    else this.#close(answers, handle);
    await answers.settled();
  }

  /**
   * SFTP cannot sync a directory. A sync of the file that is renamed last takes the renames and removals before it along
   * where the file system keeps the order of names (ext4, xfs). In the session of the renames it costs no round trip: servers
   * answer in order. In another it waits for the answer of the last rename, and so of all.
   */
  async #place(handle: Buffer): Promise<void> {
    const { session } = this.#upload;
    const answers = new Answers();
    const writer = this.#writer;
    const renamed = session.rename(this.#temporaryPath, this.#finalPath);
    answers.add(renamed);
    this.#places.left -= 1;
    if (this.#syncs && this.#places.left === 0) {
      if (writer !== session) await renamed;
      answers.add(writer.sync(handle));
    }
    if (!this.#closeSent) this.#close(answers, handle);
    await answers.settled();
  }

  #close(answers: Answers, handle: Buffer): void {
    this.#closeSent = true;
    answers.add(this.#writer.close(handle));
  }

  /** Waits until more of the file may go; resolves to how many bytes. */
  async #room(offset: number): Promise<number> {
    const { pace, onBytes } = this.#upload;
    const length = await this.#sources.pool.reserve(this.#number, this.#file.size - offset, this.#stop);
    const onWait = (): void => onBytes(0);
    await pace?.(length, { signal: this.#stop, onWait });
    return length;
  }

  /** Reads file bytes from `offset` on. Returns undefined when it is done, which small files are at once. */
  #fill(target: Buffer, offset: number, source: { handle?: FileHandle }): Promise<void> | undefined {
    const isWhole = target.length === this.#file.size;
    if (isWhole && this.#sources.quick.read(this.#upload.sourceRoot, this.#file, target)) return undefined;
    return this.#fillLater(target, offset, source);
  }

  async #fillLater(target: Buffer, offset: number, source: { handle?: FileHandle }): Promise<void> {
    source.handle ??= await openSource(this.#upload.sourceRoot, this.#file);
    await readSource(source.handle, target, offset, this.#file);
  }

  /** Best effort: what stays is hidden, and pruned later. */
  async #discard(): Promise<void> {
    const { session } = this.#upload;
    if (!this.#handle) return;
    const close = this.#closeSent ? undefined : this.#writer.close(this.#handle);
    await Promise.allSettled([close, session.remove(this.#temporaryPath)]);
  }
}

/** Answers that are awaited together; the first failure is kept, and none of them goes unhandled. */
class Answers {
  readonly #all: Promise<void>[] = [];
  #failure: unknown;
  #failed = false;

  add(answer: Promise<void>): void {
    this.#all.push(
      answer.catch((error: unknown) => {
        if (!this.#failed) this.#failure = error;
        this.#failed = true;
      }),
    );
  }

  throwIfFailed(): void {
    if (this.#failed) throw this.#failure;
  }

  async settled(): Promise<void> {
    await Promise.all(this.#all);
    this.throwIfFailed();
  }
}
