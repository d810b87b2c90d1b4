/** Directories below a mirror's root, reached by open descriptors only: no symbolic link below the root is ever followed. */
import { constants } from 'node:fs';
import { posix } from 'node:path';
import { errnoOf, TransportError } from '../errors.ts';
import type { Files, OpenFile } from '../system/files.ts';
import { escapeText } from '../system/log.ts';

/** For one call: directories are opened once, kept, synced where something changed, and closed together. */
export class DirectoryTree implements AsyncDisposable {
  readonly #root: string;
  readonly #files: Files;
  readonly #open = new Map<string, Promise<OpenFile>>();
  readonly #changed = new Set<string>();

  private constructor(root: string, files: Files, handle: OpenFile) {
    this.#root = root;
    this.#files = files;
    this.#open.set('.', Promise.resolve(handle));
  }

  /** Opens the root, which must be there: a disk that is not mounted must not be filled under its mount point. */
  static async open(root: string, files: Files): Promise<DirectoryTree> {
    try {
      return new DirectoryTree(root, files, await files.open(root, constants.O_RDONLY | constants.O_DIRECTORY));
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
      const message = escapeText(
        `${root} does not exist: is the disk mounted? If this is a new mirror, make the directory`,
      );
      throw new TransportError('not_found', 'retryable', message, { cause: error });
    }
  }

  /**
   * A path under which the system finds the entry `name` of `directory` (relative, `.` for the root) without any way back
   * through names. Rejects with ENOENT when the directory is missing, unless `create` is given; with ENOTDIR or ELOOP when a
   * component is a symbolic link or a file.
   */
  async entry(directory: string, name: string, options: { readonly create?: boolean } = {}): Promise<string> {
    const handle = await this.#directory(directory, options.create ?? false);
    return `/proc/self/fd/${handle.fd}/${name}`;
  }

  /**
   * Notes that an entry of `directory` was made, replaced or removed, now or by a process that ended before its sync: what
   * leads to it is synced too.
   */
  change(directory: string): void {
    let at = posix.normalize(directory === '' ? '.' : directory);
    for (; !this.#changed.has(at); at = posix.dirname(at)) this.#changed.add(at);
  }

  /** Makes the noted changes survive a power cut. */
  async sync(): Promise<void> {
    for (const directory of this.#changed) await (await this.#directory(directory, false)).sync();
    this.#changed.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const opened = await Promise.allSettled(this.#open.values());
    for (const one of opened) if (one.status === 'fulfilled') await one.value.close();
  }

  #directory(directory: string, create: boolean): Promise<OpenFile> {
    const key = posix.normalize(directory === '' ? '.' : directory);
    const known = this.#open.get(key);
    if (known) return known;
    const opening = this.#openBelow(posix.dirname(key), posix.basename(key), create);
    this.#open.set(key, opening);
    // What was missing for a listing may be made by a later call.
    opening.catch(() => this.#open.delete(key));
    return opening;
  }

  async #openBelow(parent: string, name: string, create: boolean): Promise<OpenFile> {
    if (name === '..') throw new TypeError(`${this.#root}: a path leads out of the mirror`);
    const path = await this.entry(parent, name, { create });
    const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
    try {
      return await this.#files.open(path, flags);
    } catch (error) {
      if (!create || errnoOf(error) !== 'ENOENT') throw error;
    }
    await this.#files.mkdir(path, { mode: 0o755 });
    this.change(parent);
    const handle = await this.#files.open(path, flags);
    // Our umask may have taken bits that a web server needs.
    await handle.chmod(0o755);
    return handle;
  }
}
