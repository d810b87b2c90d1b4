/** Looks after the directory of trees as a whole: which one is served, which ones nobody knows, what has expired in all of them. */
import { lstat, readdir, readlink, rm, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errnoOf, OperationError } from '../errors.ts';
import type { GenerationStore } from '../store/generations.ts';
import { syncDirectory } from '../system/durable.ts';
import { eachLimited } from '../system/limit.ts';
import { removeTree } from '../system/remove-tree.ts';
import { isTreeName } from './generation.ts';

/** What stands in for a plain directory `public` once it is taken over; its own place is then the link's. */
export const asideName = 'public.before-adopt';

/**
 * The tree that `public` names, null when there is no `public`, or a plain directory that is being taken over. Throws
 * OperationError LAYOUT when it is nothing that we made.
 */
export async function servedTree(root: string, takesOver = false): Promise<string | null> {
  const path = join(root, 'public');
  let target: string;
  try {
    target = await readlink(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null;
    if (errnoOf(error) !== 'EINVAL') throw error;
    if (takesOver && (await lstat(path)).isDirectory()) return null;
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

/** Removes trees that are not `known`: they are left over, or of a store that was lost. One that is served stays, and is returned. */
export async function removeStrangeTrees(
  root: string,
  known: readonly { readonly name: string }[],
  served: string | null,
): Promise<string | null> {
  let strange: string | null = null;
  for (const name of await readdir(join(root, 'trees'))) {
    if (!isTreeName(name) || known.some((tree) => tree.name === name)) continue;
    if (name === served) strange = name;
    else await removeTree(join(root, 'trees', name));
  }
  return strange;
}

/** Removes from every tree what left the last index at `untilMs` or before. Returns how many paths. */
export async function pruneTrees(root: string, generations: GenerationStore, untilMs: number): Promise<number> {
  const earliest = generations.earliestUnpruned();
  const at = generations.current()?.number;
  if (at === undefined || earliest === null || earliest > untilMs) return 0;
  let removed = 0;
  const touched = new Set<string>();
  let after: number | null = 0;
  while (after !== null) {
    const page = generations.expired({ sinceMs: earliest - 1, untilMs, at }, after);
    for (const tree of generations.trees()) {
      const base = join(root, 'trees', tree.name);
      await eachLimited(page.paths, 8, (path) => rm(join(base, path), { force: true }));
      for (const path of page.paths) touched.add(join(base, path.slice(0, path.lastIndexOf('/'))));
    }
    removed += page.paths.length;
    after = page.next;
  }
  for (const directory of touched) await syncIfThere(directory);
  await removeEmptied(touched, join(root, 'trees'));
  generations.markPruned(untilMs, at);
  return removed;
}

/** Takes away directories in which nothing is left, and what became empty above them, up to the tree. */
async function removeEmptied(directories: Iterable<string>, top: string): Promise<void> {
  for (const emptied of directories) {
    try {
      for (let at = emptied; dirname(at) !== top; at = dirname(at)) await rmdir(at);
    } catch (error) {
      if (errnoOf(error) !== 'ENOTEMPTY' && errnoOf(error) !== 'EEXIST' && errnoOf(error) !== 'ENOENT') throw error;
    }
  }
}

async function syncIfThere(directory: string): Promise<void> {
  try {
    await syncDirectory(directory);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
}
