/** The machine that doctor looks at: its files and what its programs say, nothing of which is changed. */
import { accessSync, constants } from 'node:fs';
import { lstat, readFile, realpath, stat, statfs } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { childEnvironment, exec } from '../../system/exec.ts';
import type { DiskFacts } from './disks.ts';
import type { PathFacts } from './accounts.ts';

export interface Machine {
  /** Who looks. */
  readonly uid: number;
  /** The text of a file; null when it is absent or may not be read. */
  text(path: string): Promise<string | null>;
  /** `follow`: of what a link leads to. */
  path(path: string, options?: { readonly follow?: boolean }): Promise<PathFacts>;
  disk(path: string): Promise<DiskFacts>;
  /** Every link followed; the path as it is when that fails. */
  real(path: string): Promise<string>;
  /** Where a program lies; null: nowhere. Root's directories are looked at too. */
  program(name: string): string | null;
  /** Stdout and stderr of a program that ended with 0; null when it did not, or cannot be started. */
  run(argv: readonly [string, ...string[]]): Promise<string | null>;
}

/** What programs are asked here is answered at once. */
const answerMs = 10_000;

export function systemMachine(env: Readonly<Record<string, string | undefined>>, signal: AbortSignal): Machine {
  const search = [...(env.PATH ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/bin', '/bin'];
  return {
    uid: process.getuid?.() ?? 0,
    text: (path) => readFile(path, 'utf8').catch(() => null),
    path: async (path, { follow = true } = {}) => {
      try {
        const facts = await (follow ? stat(path) : lstat(path));
        const kind = facts.isDirectory()
          ? 'directory'
          : facts.isFile()
            ? 'file'
            : facts.isSymbolicLink()
              ? 'link'
              : 'other';
        return { path, kind, uid: facts.uid, gid: facts.gid, mode: facts.mode & 0o7777, dev: facts.dev };
      } catch (error) {
        const code = (error as NodeJS.ErrnoException).code;
        return { path, kind: code === 'ENOENT' || code === 'ENOTDIR' ? 'absent' : 'unseen' };
      }
    },
    disk: async (path) => {
      try {
        const { type, bavail, blocks, bsize, ffree, files } = await statfs(path);
        const space = {
          type,
          freeBytes: bavail * bsize,
          totalBytes: blocks * bsize,
          freeFiles: ffree,
          totalFiles: files,
        };
        return { path, space };
      } catch {
        return { path, space: null };
      }
    },
    real: (path) => realpath(path).catch(() => path),
    program: (name) => search.map((directory) => join(directory, name)).find(isProgram) ?? null,
    run: async (argv) => {
      try {
        const options = { env: childEnvironment({ PATH: search.join(delimiter) }), timeoutMs: answerMs, signal };
        const { code, stdout, stderr } = await exec(argv, options);
        return code === 0 ? `${stdout}${stderr}` : null;
      } catch {
        signal.throwIfAborted();
        return null;
      }
    },
  };
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
