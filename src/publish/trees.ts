/** Looks after the directory of trees as a whole: which one is served, which ones nobody knows, what has expired in all of them. */
import { dirname, join } from 'node:path';
import { errnoOf, OperationError } from '../errors.ts';
import { syncDirectory } from '../system/durable.ts';
import { diskFiles, type Files } from '../system/files.ts';
import { eachLimited } from '../system/limit.ts';
import { isTreeName } from './generation.ts';

/** What stands in for a plain directory `public` once it is taken over; its own place is then the link's. */
export const asideName = 'public.before-adopt';

/**
 * The tree that `public` names, null when there is no `public`, or a plain directory that is being taken over. Throws
 * OperationError LAYOUT when it is nothing that we made.
 */
export async function servedTree(root: string, files: Files = diskFiles, takesOver = false): Promise<string | null> {
  const path = join(root, 'public');
  let target: string;
  try {
    target = await files.readlink(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null;
    if (errnoOf(error) !== 'EINVAL') throw error;
    if (takesOver && (await files.isDirectory(path))) return null;
    throw new OperationError(
      'LAYOUT',
      `${path}: is not a symbolic link that lockstepd made: take it over with lockstepd adopt, or move it away; nothing in it was touched`,
    );
  }
  const name = target.startsWith('trees/') ? target.slice('trees/'.length) : '';
  if (isTreeName(name)) return name;
  throw new OperationError(
    'LAYOUT',
    `${path}: links to ${target}, expected trees/NAME: move the link away, lockstepd makes its own`,
  );
}

/** Removes trees that are not `known`: they are left over. Never the one that is served. */
export async function removeStrangeTrees(
  root: string,
  known: readonly { readonly name: string }[],
  served: string | null,
  files: Files = diskFiles,
): Promise<void> {
  for (const name of await files.readdir(join(root, 'trees'))) {
    if (!isTreeName(name) || name === served || known.some((tree) => tree.name === name)) continue;
    await files.removeTree(join(root, 'trees', name));
  }
}

/** Removes these paths from every tree, durably, and directories that became empty. Returns how many paths. */
export async function removeFromTrees(root: string, pages: Iterable<readonly string[]>, files: Files): Promise<number> {
  const trees = (await files.readdir(join(root, 'trees'))).filter(isTreeName);
  const touched = new Set<string>();
  let removed = 0;
  for (const paths of pages) {
    for (const tree of trees) {
      const base = join(root, 'trees', tree);
      await eachLimited(paths, 8, (path) => files.rm(join(base, path), { force: true }));
      for (const path of paths) touched.add(join(base, path.slice(0, path.lastIndexOf('/'))));
    }
    removed += paths.length;
  }
  for (const directory of touched) await syncIfThere(files, directory);
  await removeEmptied(files, touched, join(root, 'trees'));
  return removed;
}

/** Takes away directories in which nothing is left, and what became empty above them, up to the tree. */
async function removeEmptied(files: Files, directories: Iterable<string>, top: string): Promise<void> {
  for (const emptied of directories) {
    try {
      for (let at = emptied; dirname(at) !== top; at = dirname(at)) await files.rmdir(at);
    } catch (error) {
      if (errnoOf(error) !== 'ENOTEMPTY' && errnoOf(error) !== 'EEXIST' && errnoOf(error) !== 'ENOENT') throw error;
    }
  }
}

async function syncIfThere(files: Files, directory: string): Promise<void> {
  try {
    await syncDirectory(directory, files);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
}
