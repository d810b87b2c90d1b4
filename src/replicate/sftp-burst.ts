/** Brings a few files over one SFTP session in as few round trips as can be: all that makes a file goes out before the first answer. */
import { posix } from 'node:path';
import { abortable } from '../system/abortable.ts';
import { type ForetoldFile, UnforeseenHandleError } from '../system/ssh-sftp.ts';
import { openFlag, SftpStatusError } from '../system/ssh-sftp-wire.ts';
import { Answers } from './sftp-answers.ts';
import { explainFailure } from './sftp-failure.ts';
import { fileMode, type Upload } from './sftp-upload.ts';
import { ContentWriter } from './sftp-writer.ts';
import { temporaryName } from './temporary.ts';
import { bytesOf, type PushFile, type Wave } from './transport.ts';

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
 * Writes with the handles that the server is going to give out, and counts nothing before it has given those. Resolves to false
 * when it gave others or refused something before a name was changed: nothing is lost, `uploadFiles` does all of it and knows
 * what to say. Rejects like that one.
 */
export async function uploadBurst(upload: Omit<Upload, 'others'>): Promise<boolean> {
  const { session, root, signal } = upload;
  const burst = new Burst(upload);
  try {
    await burst.send();
    await burst.place();
    return true;
  } catch (error) {
    const isHarmless = error instanceof SftpStatusError || error instanceof UnforeseenHandleError;
    const isUndone = isHarmless && !burst.isPlacing && !signal.aborted && !session.ended;
    const failure = isUndone || signal.aborted ? error : await explainFailure(error, session, root);
    await burst.discard();
    signal.throwIfAborted();
    if (isUndone) return false;
    throw failure;
  }
}

interface Handle extends ForetoldFile {
  closeSent: boolean;
}

interface BurstFile {
  readonly file: PushFile;
  readonly temporaryPath: string;
  readonly finalPath: string;
  /** The handle that stays open until the file has its name; undefined when nothing is synced. */
  handle?: Handle;
}

class Burst {
  readonly #upload: Omit<Upload, 'others'>;
  readonly #syncs: boolean;
  readonly #waves: readonly (readonly BurstFile[])[];
  readonly #handles: Handle[] = [];
  /** Temporary files that were asked for and not yet renamed. */
  readonly #temporary = new Set<string>();
  #placing = false;

  constructor(upload: Omit<Upload, 'others'>) {
    this.#upload = upload;
    this.#syncs = upload.fsync && upload.session.extensions.has('fsync@openssh.com');
    this.#waves = upload.waves.map((wave: Wave) =>
      wave.map((file) => {
        const finalPath = posix.join(upload.root, file.path);
        const temporaryPath = posix.join(posix.dirname(finalPath), temporaryName(posix.basename(finalPath)));
        return { file, finalPath, temporaryPath };
      }),
    );
  }

  /** True once a name may have been changed. */
  get isPlacing(): boolean {
    return this.#placing;
  }

  /** Resolves when every temporary file is whole, and on the disk. */
  async send(): Promise<void> {
    const { session, signal } = this.#upload;
    const answers = new Answers();
    const content = new ContentWriter(this.#upload, signal);
    const files = this.#waves.flat();
    try {
      for (const [number, one] of files.entries()) await this.#sendOne(one, number, content, answers);
      // Behind everything: by now the disk has been at work on the first for a while.
      for (const { handle } of files) if (handle) answers.add(session.sync(handle.handle));
    } finally {
      // Also after a failure: nothing may be on its way any more when a handle is given out anew.
      await answers.ended();
    }
    answers.throwIfFailed();
  }

  /**
   * ext4 begins to write a file when a handle of it is closed after it was cut to nothing (auto_da_alloc in ext4(5)), instead of
   * at its sync: many files get there together, and their syncs find little to do. So one handle writes and is closed, and
   * a second one syncs. Elsewhere it does no harm.
   */
  async #sendOne(one: BurstFile, number: number, content: ContentWriter, answers: Answers): Promise<void> {
    const { session, onBytes } = this.#upload;
    const { file, temporaryPath } = one;
    this.#temporary.add(temporaryPath);
    const writer = this.#open(temporaryPath, openFlag.write | openFlag.create | openFlag.exclusive, answers);
    writer.opened.then(
      () => onBytes(0),
      () => {},
    );
    if (this.#syncs) {
      answers.add(session.setHandleAttributes(writer.handle, { size: 0 }));
      one.handle = this.#open(temporaryPath, openFlag.write, answers);
    }
    await content.write(file, { session, handle: writer.handle, number }, answers);
    const { mtimeSeconds } = file;
    answers.add(session.setHandleAttributes(writer.handle, { permissions: fileMode, mtimeSeconds }));
    this.#close(writer, answers);
  }

  #open(path: string, flags: number, answers: Answers): Handle {
    const { handle, opened } = this.#upload.session.openForetold(path, flags, fileMode);
    answers.add(opened);
    const one = { handle, opened, closeSent: false };
    this.#handles.push(one);
    return one;
  }

  #close(handle: Handle, answers: Answers): void {
    handle.closeSent = true;
    answers.add(this.#upload.session.close(handle.handle));
  }

  /**
   * Renames wave after wave. SFTP cannot sync a directory: a sync of the file that is renamed last takes the renames and
   * removals before it along where the file system keeps the order of names (ext4, xfs); servers answer in order.
   */
  async place(): Promise<void> {
    const { session, gate, signal, onBytes } = this.#upload;
    const last = this.#waves.flat().at(-1);
    for (const [n, wave] of this.#waves.entries()) {
      if (wave.length === 0) continue;
      if (gate && n === this.#waves.length - 1) await abortable(gate, signal);
      signal.throwIfAborted();
      const answers = new Answers();
      this.#placing = true;
      for (const one of wave) {
        const { temporaryPath, finalPath, handle } = one;
        const renamed = session.rename(temporaryPath, finalPath).then(() => void this.#temporary.delete(temporaryPath));
        answers.add(renamed);
        if (handle && one === last) answers.add(session.sync(handle.handle));
        if (handle) this.#close(handle, answers);
      }
      await answers.settled();
      onBytes(0);
    }
  }

  /** Best effort: what stays is hidden, and pruned later. */
  async discard(): Promise<void> {
    const { session } = this.#upload;
    const closing = this.#handles
      .filter(({ closeSent }) => !closeSent)
      .map(({ handle, opened }) => opened.then(() => session.close(handle)));
    await Promise.allSettled([...closing, ...[...this.#temporary].map((path) => session.remove(path))]);
  }
}
