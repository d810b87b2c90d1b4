/** Programs that forget something, as file systems between a right program and a simulated disk: each must be found out. */
import type { Files, OpenFile } from '../../src/system/files.ts';
import type { SimFiles } from './sim-files.ts';

export const broken: Readonly<Record<string, (files: SimFiles) => Files>> = {
  'no sync of files': (files) => withSync(files, async (sync, isDirectory) => (isDirectory ? sync() : undefined)),
  'no sync of directories': (files) => withSync(files, async (sync, isDirectory) => (isDirectory ? undefined : sync())),
  'the link is switched before the syncs': (files) => {
    const late: (() => Promise<void>)[] = [];
    const changed = withSync(files, async (sync) => void late.push(sync));
    const rename = async (from: string, to: string): Promise<void> => {
      await files.rename(from, to);
      if (to.endsWith('/public')) for (const sync of late.splice(0)) await sync();
    };
    return Object.assign(changed, { rename });
  },
};

/** Every file is written under its own name instead of a temporary one that is renamed. */
export function writtenInPlace(files: SimFiles): Files {
  const placeOf = (path: string): string => path.replace(/\/\.([^/]+)\.lockstepd-[0-9a-f]{6}$/, '/$1');
  const plain = withSync(files, (sync) => sync());
  return {
    ...plain,
    open: (path, flags, mode) =>
      placeOf(path) === path ? plain.open(path, flags, mode) : files.open(placeOf(path), 'w', mode),
    rename: async (from, to) => (placeOf(from) === from ? files.rename(from, to) : undefined),
  };
}

function withSync(files: SimFiles, sync: (real: () => Promise<void>, isDirectory: boolean) => Promise<void>): Files {
  const open = async (path: string, flags: string | number, mode?: number): Promise<OpenFile> => {
    const handle = await files.open(path, flags, mode);
    const isDirectory = !(await handle.stat()).isFile();
    return { ...handle, sync: () => sync(() => handle.sync(), isDirectory) };
  };
  return {
    open,
    mkdir: (path, options) => files.mkdir(path, options),
    chmod: () => files.chmod(),
    link: (existing, path) => files.link(existing, path),
    symlink: (target, path) => files.symlink(target, path),
    rename: (from, to) => files.rename(from, to),
    rm: (path) => files.rm(path),
    unlink: (path) => files.unlink(path),
    rmdir: (path) => files.rmdir(path),
    readdir: (path) => files.readdir(path),
    readlink: (path) => files.readlink(path),
    stat: (path) => files.stat(path),
    lstat: (path) => files.lstat(path),
    isDirectory: (path) => files.isDirectory(path),
    removeTree: (path) => files.removeTree(path),
  };
}
