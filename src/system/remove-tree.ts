/** Removes a directory with everything in it, in memory that does not grow with the number of files. */
import { lstat, opendir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf } from '../errors.ts';
import { eachLimited } from './limit.ts';

const filesAtOnce = 256;

/** What is absent counts as removed; symlinks are removed, never followed. */
export async function removeTree(path: string): Promise<void> {
  const facts = await lstat(path).catch((error: unknown) => {
    if (errnoOf(error) !== 'ENOENT') throw error;
    return null;
  });
  if (facts?.isDirectory()) while (await removeSome(path));
  await rm(path, { recursive: true, force: true });
}

/** Removes what is in a directory, at most `filesAtOnce` files of it; true when there may be more. */
async function removeSome(directory: string): Promise<boolean> {
  const names: string[] = [];
  for await (const entry of await opendir(directory)) {
    if (entry.isDirectory()) await removeTree(join(directory, entry.name));
    else names.push(entry.name);
    if (names.length >= filesAtOnce) break;
  }
  await eachLimited(names, 8, (name) => rm(join(directory, name), { force: true }));
  return names.length >= filesAtOnce;
}
