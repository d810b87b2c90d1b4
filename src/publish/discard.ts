/** Trees that a start gives up: put aside in one rename, removed when nobody waits, because that takes as long as a tree has files. */
import { join } from 'node:path';
import { errnoOf } from '../errors.ts';
import type { GenerationStore } from '../store/generations.ts';
import { syncDirectory } from '../system/durable.ts';
import { diskFiles, type Files } from '../system/files.ts';
import { isKeptCopies } from './rollback-copies.ts';

const prefix = '.discarded-';

/** Clears `ingest/` at a start of private copies that nobody will use: all but given up trees, which take long, and what a rollback keeps. */
export async function clearIngest(root: string, files: Files): Promise<void> {
  for (const name of await files.readdir(join(root, 'ingest')))
    if (!isDiscarded(name) && !isKeptCopies(name)) await files.removeTree(join(root, 'ingest', name));
}

function isDiscarded(name: string): boolean {
  return name.startsWith(prefix);
}

/** Takes `tree` away, durably; its files still lie in `ingest/` until `removeDiscarded`. One that is not there is left alone. */
export async function discard(root: string, tree: string, files: Files = diskFiles): Promise<void> {
  const taken = await files.readdir(join(root, 'ingest'));
  let n = 0;
  while (taken.includes(`${prefix}${n}`)) n++;
  try {
    await files.rename(join(root, 'trees', tree), join(root, 'ingest', `${prefix}${n}`));
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    return;
  }
  await syncDirectory(join(root, 'trees'), files);
}

/** May run beside everything else: nothing reads or names what it removes. */
export async function removeDiscarded(root: string, files: Files = diskFiles): Promise<void> {
  for (const name of (await files.readdir(join(root, 'ingest'))).filter(isDiscarded))
    await files.removeTree(join(root, 'ingest', name));
}

/** Packages of the served generation; 0 before the first. */
export function servedPackages(generations: GenerationStore): number {
  const indexes = generations.indexesAt(generations.current()?.number ?? 0);
  return indexes.reduce((sum, { packages }) => sum + packages, 0);
}
