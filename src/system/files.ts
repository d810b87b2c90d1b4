/** The operations of a file system that durable changes are made of: the disk's, or a simulated one that forgets what was not synced. */
import {
  chmod,
  link,
  lstat,
  mkdir,
  open,
  readdir,
  readlink,
  rename,
  rm,
  rmdir,
  stat,
  symlink,
  unlink,
} from 'node:fs/promises';
import { errnoOf } from '../errors.ts';
import { removeTree } from './remove-tree.ts';

export interface FileFacts {
  readonly ino: number;
  readonly dev: number;
  /** Type and permission bits. */
  readonly mode: number;
  readonly nlink: number;
  readonly size: number;
  readonly atimeMs: number;
  readonly mtimeMs: number;
  isFile(): boolean;
}

export interface OpenFile {
  /** What it is called below `/proc/self/fd/`. */
  readonly fd: number;
  stat(): Promise<FileFacts>;
  read(buffer: Buffer, offset: number, length: number, position: number): Promise<{ readonly bytesRead: number }>;
  write(buffer: Buffer, offset: number, length: number, position: number): Promise<{ readonly bytesWritten: number }>;
  writeFile(data: string | Buffer): Promise<void>;
  chmod(mode: number): Promise<void>;
  utimes(accessSeconds: number, modifySeconds: number): Promise<void>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** As in `node:fs/promises`, errors and their codes included. */
export interface Files {
  open(path: string, flags: string | number, mode?: number): Promise<OpenFile>;
  /** With `recursive`: returns the topmost directory that was made, undefined when all were there. */
  mkdir(path: string, options: { readonly recursive?: boolean; readonly mode?: number }): Promise<string | undefined>;
  chmod(path: string, mode: number): Promise<void>;
  link(existing: string, path: string): Promise<void>;
  symlink(target: string, path: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  rm(path: string, options: { readonly force: true }): Promise<void>;
  /** Unlike `rm`, it rejects with ENOENT when there is nothing. */
  unlink(path: string): Promise<void>;
  rmdir(path: string): Promise<void>;
  readdir(path: string): Promise<string[]>;
  readlink(path: string): Promise<string>;
  stat(path: string): Promise<FileFacts>;
  lstat(path: string): Promise<FileFacts>;
  /** True for a directory itself, false for a link to one, for anything else and for nothing. */
  isDirectory(path: string): Promise<boolean>;
  /** Removes a directory with everything in it; what is absent counts as removed. */
  removeTree(path: string): Promise<void>;
}

export const diskFiles: Files = {
  open,
  mkdir,
  chmod,
  link,
  symlink,
  rename,
  rm,
  unlink,
  rmdir,
  readdir,
  readlink,
  stat,
  lstat,
  isDirectory: async (path) => {
    try {
      return (await lstat(path)).isDirectory();
    } catch (error) {
      // What cannot be looked at is not known to be none.
      if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return false;
      throw error;
    }
  },
  removeTree,
};
