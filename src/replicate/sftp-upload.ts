/** Brings files over SFTP sessions: every file is written whole under a temporary name, and renamed only after every answer about it was good. */
import { posix } from 'node:path';
import { abortable } from '../system/abortable.ts';
import type { Clock } from '../system/clock.ts';
import type { SftpSession } from '../system/ssh-sftp.ts';
import { openFlag } from '../system/ssh-sftp-wire.ts';
import { Answers } from './sftp-answers.ts';
import { directoryMaker, isNoSuchFile } from './sftp-directories.ts';
import { explainFailure } from './sftp-failure.ts';
import { Spread } from './sftp-spread.ts';
import { ContentWriter } from './sftp-writer.ts';
import { temporaryPathFor } from './temporary.ts';
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
export const fileMode = 0o644;

/**
 * Uploads all files; those of all waves travel together, only their renames keep the order. On a failure it starts nothing
 * new, removes the temporary files that it can, and rejects with the first error. Once aborted no file is renamed any more.
 */
export async function uploadFiles(upload: Upload): Promise<void> {
  const { waves, session, others = [], signal } = upload;
  const makeDirectory = directoryMaker(upload);
  const failed = new AbortController();
  const stop = AbortSignal.any([signal, failed.signal]);
  const content = new ContentWriter(upload, stop);
  const files = inOrder(waves, upload.gate);
  const places = { left: files.length };
  const spread = new Spread(session, others);
  let next = 0;
  const work = async (): Promise<void> => {
    // Taken in the order of the waves: who waits for an earlier wave waits for files that others have begun.
    for (let one = files[next++]; one && !stop.aborted; one = files[next++]) {
      // The one that is renamed last, as a rule, is synced behind the renames: in one session without waiting for their answers.
      const writer = one === files.at(-1) ? spread.takeFirst() : spread.take();
      await new FileUpload(upload, writer, one, content, stop, places).run(makeDirectory, one.turn);
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

class FileUpload {
  readonly #upload: Upload;
  /** The session that its handle belongs to. */
  readonly #writer: SftpSession;
  readonly #file: PushFile;
  /** Its place in the upload. */
  readonly #number: number;
  readonly #finalPath: string;
  readonly #temporaryPath: string;
  readonly #content: ContentWriter;
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
    content: ContentWriter,
    stop: AbortSignal,
    places: { left: number },
  ) {
    this.#upload = upload;
    this.#writer = writer;
    this.#file = file;
    this.#number = number;
    this.#finalPath = posix.join(upload.root, file.path);
    this.#temporaryPath = temporaryPathFor(this.#finalPath);
    this.#content = content;
    this.#stop = stop;
    this.#places = places;
    this.#syncs = upload.fsync && writer.extensions.has('fsync@openssh.com');
  }

  async run(makeDirectory: (directory: string) => Promise<void>, turn: Promise<void>): Promise<void> {
    const { session, onBytes } = this.#upload;
    try {
      this.#handle = await this.#openTemporary(makeDirectory);
      onBytes(0);
      await this.#write(this.#handle);
      await abortable(turn, this.#stop);
      await this.#place(this.#handle);
      onBytes(0);
    } catch (error) {
      const failure = this.#stop.aborted ? error : await explainFailure(error, session, this.#upload.root);
      await this.#discard();
      throw failure;
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
  async #write(handle: Buffer): Promise<void> {
    const writer = this.#writer;
    const { mtimeSeconds } = this.#file;
    const answers = new Answers();
    await this.#content.write(this.#file, { session: writer, handle, number: this.#number }, answers);
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

  /** Best effort: what stays is hidden, and pruned later. */
  async #discard(): Promise<void> {
    const { session } = this.#upload;
    if (!this.#handle) return;
    const close = this.#closeSent ? undefined : this.#writer.close(this.#handle);
    await Promise.allSettled([close, session.remove(this.#temporaryPath)]);
  }
}
