/** Brings a few files over SFTP sessions in as few round trips as can be: all that makes a file goes out before the first answer. */
import { posix } from 'node:path';
import { abortable } from '../system/abortable.ts';
import { type ForetoldFile, type SftpSession, UnforeseenHandleError } from '../system/ssh-sftp.ts';
import { openFlag, SftpStatusError } from '../system/ssh-sftp-wire.ts';
import { Answers } from './sftp-answers.ts';
import { explainFailure } from './sftp-failure.ts';
import { fileMode, type Upload } from './sftp-upload.ts';
import { ContentWriter } from './sftp-writer.ts';
import { temporaryPathFor } from './temporary.ts';
import { bytesOf, type PushFile } from './transport.ts';

/** More files, or more bytes: what a round trip takes is nothing beside them. */
const mostFiles = 64;
const mostBytes = 64 * 1024 * 1024;

/** `known` are directories in which files were placed before, relative to the root. */
export function canBurst({ session, waves }: Pick<Upload, 'session' | 'waves'>, known: ReadonlySet<string>): boolean {
  const files = waves.flat();
  return (
    session.foretells &&
    files.length <= mostFiles &&
    bytesOf(waves) <= mostBytes &&
    files.every(({ path }) => known.has(posix.dirname(path)))
  );
}

/**
 * Writes with the handles that the server is going to give out, and counts nothing of a file before it has given that one.
 * Resolves to false when it gave another, or refused anything: what has its name by then is right, and `uploadFiles` does all of
 * it again, and knows what to say. Rejects like that one. No two of these may use one session at a time.
 */
export async function uploadBurst(upload: Upload): Promise<boolean> {
  const { session, root, signal } = upload;
  const burst = new Burst(upload);
  try {
    await burst.run();
    return true;
  } catch (error) {
    const isRefusal = error instanceof SftpStatusError || error instanceof UnforeseenHandleError;
    const failure = isRefusal || signal.aborted ? error : await explainFailure(error, session, root);
    await burst.discard();
    signal.throwIfAborted();
    if (isRefusal) return false;
    throw failure;
  } finally {
    burst.close();
  }
}

interface BurstFile {
  readonly file: PushFile;
  readonly temporaryPath: string;
  readonly finalPath: string;
  /** The session that its handle belongs to. */
  readonly writer: SftpSession;
  /** To everything before the rename. */
  readonly answers: Answers;
  opening?: ForetoldFile;
  closeSent: boolean;
  isPlaced: boolean;
}

class Burst {
  readonly #upload: Upload;
  readonly #syncs: boolean;
  readonly #waves: readonly (readonly BurstFile[])[];
  readonly #files: readonly BurstFile[];

  constructor(upload: Upload) {
    const { session, others = [], waves, root } = upload;
    const writers = [session, ...others.filter((one) => one.foretells)];
    this.#upload = upload;
    this.#syncs = upload.fsync && session.extensions.has('fsync@openssh.com');
    let left = waves.flat().length;
    this.#waves = waves.map((wave) =>
      wave.map((file) => {
        left -= 1;
        const finalPath = posix.join(root, file.path);
        // The last of all is synced behind the renames, which are the first session's.
        const writer = writers[left % writers.length] ?? session;
        const names = { finalPath, temporaryPath: temporaryPathFor(finalPath) };
        return { file, ...names, writer, answers: new Answers(), closeSent: false, isPlaced: false };
      }),
    );
    this.#files = this.#waves.flat();
  }

  async run(): Promise<void> {
    const { signal, gate, onBytes } = this.#upload;
    const content = new ContentWriter(this.#upload, signal);
    // All names first: what changes a directory between two syncs is one more thing for the second to write.
    for (const one of this.#files) this.#open(one);
    for (const [number, one] of this.#files.entries()) await this.#write(one, number, content);
    // Behind all writes: what the first sync makes the file system write down then holds most of what the others ask for.
    if (this.#syncs)
      // On a slow disk it is these answers alone that show life: those to the renames come behind the last of them.
      for (const { writer, opening, answers } of this.#files)
        if (opening) answers.add(writer.sync(opening.handle).then(() => onBytes(0)));
    for (const [n, wave] of this.#waves.entries()) {
      if (wave.length === 0) continue;
      if (gate && n === this.#waves.length - 1) await abortable(gate, signal);
      const placed = new Answers();
      const last = this.#files.at(-1);
      for (const one of wave) if (one !== last) placed.add(this.#place(one));
      // Its rename is sent behind all others, whichever session answers first: its sync takes along only what came before.
      if (last && wave.includes(last)) placed.add(this.#whenReady(wave).then(() => this.#place(last)));
      await placed.settled();
    }
  }

  async #whenReady(wave: readonly BurstFile[]): Promise<void> {
    await Promise.all(wave.map(({ answers }) => answers.settled()));
  }

  #open(one: BurstFile): void {
    const { writer, temporaryPath, answers } = one;
    const opening = writer.openForetold(temporaryPath, openFlag.write | openFlag.create | openFlag.exclusive, fileMode);
    one.opening = opening;
    answers.add(opening.opened.then(() => this.#upload.onBytes(0)));
  }

  async #write({ file, writer, opening, answers }: BurstFile, number: number, content: ContentWriter): Promise<void> {
    if (!opening) return;
    const { handle } = opening;
    await content.write(file, { session: writer, handle, number }, answers);
    this.#upload.signal.throwIfAborted();
    answers.throwIfFailed();
    answers.add(writer.setHandleAttributes(handle, { permissions: fileMode, mtimeSeconds: file.mtimeSeconds }));
  }

  /**
   * SFTP cannot sync a directory: a sync of the file that is renamed last takes the renames and removals before it along where
   * the file system keeps the order of names (ext4, xfs). It needs no answer to wait for: servers work in order.
   */
  async #place(one: BurstFile): Promise<void> {
    const { session, signal, onBytes } = this.#upload;
    await one.answers.settled();
    signal.throwIfAborted();
    // Without a sync it is the close that tells of bytes that could not be kept (NFS, quotas).
    if (!this.#syncs && one.opening) {
      one.closeSent = true;
      await one.writer.close(one.opening.handle);
      signal.throwIfAborted();
    }
    const answers = new Answers();
    answers.add(session.rename(one.temporaryPath, one.finalPath).then(() => void (one.isPlaced = true)));
    if (this.#syncs && one.opening && one === this.#files.at(-1)) answers.add(session.sync(one.opening.handle));
    await answers.settled();
    onBytes(0);
  }

  /** Best effort: what stays is hidden, and pruned later. */
  async discard(): Promise<void> {
    // Nothing may be on its way any more when a handle is given out anew.
    await Promise.all(this.#files.map(({ answers }) => answers.ended()));
    const left = this.#files.filter(({ opening, isPlaced }) => opening && !isPlaced);
    await Promise.allSettled(left.map(({ temporaryPath }) => this.#upload.session.remove(temporaryPath)));
  }

  /** Last of all, and nobody waits for the answers: a server has enough to do until the files have their names. */
  close(): void {
    for (const { writer, opening, closeSent } of this.#files)
      if (!closeSent) opening?.opened.then(() => writer.close(opening.handle)).catch(() => {});
  }
}
