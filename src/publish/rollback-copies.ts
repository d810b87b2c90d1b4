/** Where the private copies of a rollback lie, and how those of one that failed outlive it: the tree that they came from may be given up. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { errnoOf } from '../errors.ts';
import type { Files } from '../system/files.ts';

/** Of the rollback that is being made. No builder has such a name. */
export const copies = 'ingest/.rollback';
const keptName = '.rollback-kept';
/** Of the last one that failed. */
export const keptCopies = `ingest/${keptName}`;

/** True for what a start leaves in `ingest/`. */
export function isKeptCopies(name: string): boolean {
  return name === keptName;
}

/** The name of a package's copy, the same in every try. */
export function copyName(
  index: { readonly repository: string; readonly file: string },
  file: string,
  identity: string,
): string {
  return createHash('sha256').update([index.repository, index.file, file, identity].join('\0')).digest('hex');
}

/** To be called when a rollback was begun and is given up: the next try looks in `keptCopies`. Without copies nothing happens. */
export async function keepCopies(root: string, files: Files): Promise<void> {
  try {
    await files.stat(join(root, copies));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return;
    throw error;
  }
  await files.removeTree(join(root, keptCopies));
  await files.rename(join(root, copies), join(root, keptCopies));
}

/** Nobody has tried again since `beforeMs`: what is kept goes. */
export async function dropKeptCopies(root: string, files: Files, beforeMs: number): Promise<void> {
  try {
    if ((await files.stat(join(root, keptCopies))).mtimeMs >= beforeMs) return;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return;
    throw error;
  }
  await files.removeTree(join(root, keptCopies));
}
