/** The files behind the embedded SFTP server: every path is walked from the root's descriptor, one component at a time, no link followed. */
import { constants } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { diskFiles, type FileFacts, type Files, type OpenFile } from './files.ts';
import { openFlag, type SftpAttributes } from './ssh-sftp-wire.ts';

export interface DirectoryEntry {
  readonly name: string;
  readonly attributes: SftpAttributes;
}

/** All paths are the client's: absolute or relative to the root, which is `/` to it. Methods reject with system errors. */
export class ConfinedFiles {
  readonly #root: string;
  readonly #files: Files;

  constructor(root: string, files: Files = diskFiles) {
    this.#root = root;
    this.#files = files;
  }

  /** `flags` are SFTP's. */
  open(path: string, flags: number, mode: number): Promise<OpenFile> {
    return this.#at(path, (entry) => this.#files.open(entry, systemFlags(flags), mode & 0o777));
  }

  async setAttributes(path: string, attributes: SftpAttributes): Promise<void> {
    const handle = await this.#at(path, (entry) =>
      this.#files.open(entry, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK),
    );
    try {
      await applyAttributes(handle, attributes);
    } finally {
      await handle.close();
    }
  }

  /** Of the entry itself: links are shown, never followed. */
  stat(path: string): Promise<SftpAttributes> {
    return this.#at(path, async (entry) => attributesOf(await this.#files.lstat(entry)));
  }

  list(path: string): Promise<DirectoryEntry[]> {
    return this.#at(posix.join(path, '.entry'), async (entry) => {
      const directory = posix.dirname(entry);
      const names = await this.#files.readdir(`${directory}/.`);
      return Promise.all(
        names.map(async (name) => ({
          name,
          attributes: await this.#files.lstat(join(directory, name)).then(attributesOf, () => ({})),
        })),
      );
    });
  }

  async makeDirectory(path: string, mode: number): Promise<void> {
    await this.#at(path, (entry) => this.#files.mkdir(entry, { mode: mode & 0o777 }));
  }

  removeDirectory(path: string): Promise<void> {
    return this.#at(path, (entry) => this.#files.rmdir(entry));
  }

  remove(path: string): Promise<void> {
    return this.#at(path, (entry) => this.#files.unlink(entry));
  }

  rename(from: string, to: string): Promise<void> {
    return this.#at(from, (source) => this.#at(to, (target) => this.#files.rename(source, target)));
  }

  /** The eleven numbers of statvfs@openssh.com. */
  async space(path: string): Promise<number[]> {
    const { bsize, blocks, bfree, bavail, files, ffree } = await this.#at(posix.join(path, '.entry'), (entry) =>
      statfs(posix.dirname(entry)),
    );
    return [bsize, bsize, blocks, bfree, bavail, files, ffree, ffree, 0, 0, 255];
  }

  /** Calls `act` with a path for the entry that leads through an open descriptor of its directory. */
  async #at<T>(path: string, act: (entry: string) => Promise<T>): Promise<T> {
    // A rooted path cannot have `..` left after normalisation.
    const names = posix.normalize(`/${path}`).split('/').filter(Boolean);
    const last = names.pop() ?? '.';
    let directory = await this.#files.open(this.#root, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      for (const name of names) {
        const next = await this.#files.open(
          `/proc/self/fd/${directory.fd}/${name}`,
          constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW,
        );
        await directory.close();
        directory = next;
      }
      return await act(`/proc/self/fd/${directory.fd}/${last}`);
    } finally {
      await directory.close();
    }
  }
}

/** Sets mode and times of an open file; sizes and owners are not the client's business. */
export async function applyAttributes(handle: OpenFile, attributes: SftpAttributes): Promise<void> {
  const { permissions, atimeSeconds, mtimeSeconds } = attributes;
  if (permissions !== undefined) await handle.chmod(permissions & 0o777);
  if (mtimeSeconds !== undefined) await handle.utimes(atimeSeconds ?? mtimeSeconds, mtimeSeconds);
}

function attributesOf({ size, mode, atimeMs, mtimeMs }: FileFacts): SftpAttributes {
  return {
    size,
    permissions: mode,
    atimeSeconds: Math.floor(atimeMs / 1000),
    mtimeSeconds: Math.floor(mtimeMs / 1000),
  };
}

function systemFlags(flags: number): number {
  const { O_RDONLY, O_WRONLY, O_RDWR, O_APPEND, O_CREAT, O_TRUNC, O_EXCL, O_NOFOLLOW, O_NONBLOCK } = constants;
  const access = flags & openFlag.write ? (flags & openFlag.read ? O_RDWR : O_WRONLY) : O_RDONLY;
  return (
    access |
    O_NOFOLLOW |
    O_NONBLOCK |
    (flags & openFlag.append ? O_APPEND : 0) |
    (flags & openFlag.create ? O_CREAT : 0) |
    (flags & openFlag.truncate ? O_TRUNC : 0) |
    (flags & openFlag.exclusive ? O_EXCL : 0)
  );
}
