/** Takes recalled packages out of every tree: after the store knows of them, so that a crash between is made good at the next start. */
import type { RecallStore } from '../store/recalls.ts';
import type { Files } from '../system/files.ts';
import { removeFromTrees } from './trees.ts';

/** Removes what recalls took back and may still lie in a tree. Returns how many paths. */
export async function recallFromTrees(root: string, recalls: RecallStore, files: Files): Promise<number> {
  let removed = 0;
  for (const id of recalls.unapplied()) {
    removed += await removeFromTrees(root, recalls.paths(id - 1, id), files);
    recalls.markApplied(id);
  }
  return removed;
}
