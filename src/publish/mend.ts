/** Replaces a damaged file in every tree by a good copy, or takes it out, and keeps the bad one in the quarantine. May be repeated after a crash. */
import type { Stats } from 'node:fs';
import { link, lstat, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errnoOf } from '../errors.ts';
import type { PublishedFile } from '../store/damage.ts';
import type { Store } from '../store/store.ts';
import { makeDirectoryDurable, syncDirectory } from '../system/durable.ts';
import { diskFiles } from '../system/files.ts';
import { linkOver } from './apply.ts';

export interface Mending {
  readonly root: string;
  readonly store: Store;
  readonly file: PublishedFile;
  /** Absolute path of a verified copy with its final mode and time, synced, on the same file system; null: there is none. */
  readonly good: string | null;
  /** Hex SHA-256 of a regular file, null for what cannot be read. */
  readonly digest: (path: string) => Promise<string | null>;
  /** Absolute path of the directory for the bad file. */
  readonly quarantine: string;
}

/** Call it while nothing else changes trees. Each name is replaced by one rename: a reader gets the bad bytes or the good ones. */
export async function mendTrees(mending: Mending): Promise<void> {
  const { root, store, file } = mending;
  const current = store.generations.current();
  if (!current) return;
  const bad = new Set<number>();
  // The served one first: it also tells which inode is the bad one.
  const trees = store.generations.trees().toSorted((a, b) => rank(b.name) - rank(a.name));
  function rank(name: string): number {
    return name === current?.tree ? 1 : 0;
  }
  for (const tree of trees) {
    const path = join(root, 'trees', tree.name, file.repository, file.file);
    // A tree that was not finished says 0, and may hold the file all the same.
    const expected = store.damage.expected(file.repository, file.file, tree.generation || current.number);
    const ours = expected?.sha256 === file.sha256;
    const there = await lstatOrNull(path);
    if (there === null) {
      if (ours && tree.generation > 0) await putBack(mending, path);
      continue;
    }
    if (!ours && !bad.has(there.ino)) continue;
    if (!bad.has(there.ino) && (await mending.digest(path)) === file.sha256) continue;
    bad.add(there.ino);
    await replace(mending, path, there);
  }
}

async function putBack({ root, good }: Mending, path: string): Promise<void> {
  if (good === null) return;
  await linkOver(diskFiles, root, good, path);
  await syncDirectory(dirname(path));
}

async function replace(mending: Mending, path: string, there: Stats): Promise<void> {
  const { root, good, file, quarantine } = mending;
  const aside = join(quarantine, `${file.file}.${there.ino}`);
  await makeDirectoryDurable(quarantine, 0o750);
  if (there.isFile()) await linkOnce(path, aside);
  else await rename(path, aside);
  await syncDirectory(quarantine);
  if (good !== null) await linkOver(diskFiles, root, good, path);
  else await rm(path, { force: true });
  await syncDirectory(dirname(path));
}

async function linkOnce(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
  }
}

async function lstatOrNull(path: string): Promise<Stats | null> {
  try {
    return await lstat(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return null;
    throw error;
  }
}
