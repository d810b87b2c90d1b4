/** Reads what a public directory says of itself: its trace file, and every index below it with the repository it stands for. Changes nothing. */
import { opendir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type IndexFileName, isIndexFileName } from '../apk/entry.ts';
import { matchTemplate, type Template } from '../config/template.ts';
import { errnoOf } from '../errors.ts';
import { parseTrace, type Trace, traceFile } from '../store/trace.ts';
import { isTreeName } from './generation.ts';

/** The trace file of a tree; null when there is none that can be read. */
export async function readTrace(directory: string): Promise<Trace | null> {
  try {
    return parseTrace(await readFile(join(directory, traceFile), 'utf8'));
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EIO', 'EACCES'].includes(errnoOf(error) ?? '')) return null;
    throw error;
  }
}

/** The highest generation that a trace file of any tree below `root` tells; 0 when none does. */
export async function highestTrace(root: string): Promise<number> {
  let highest = 0;
  const names = await readdir(join(root, 'trees')).catch((error: unknown) => {
    if (errnoOf(error) !== 'ENOENT') throw error;
    return [];
  });
  for (const name of names) {
    if (!isTreeName(name)) continue;
    highest = Math.max(highest, (await readTrace(join(root, 'trees', name)))?.generation ?? 0);
  }
  return highest;
}

export interface FoundFile {
  /** Relative to the directory, `/` between components; empty for the directory itself. */
  readonly directory: string;
  readonly name: string;
  readonly isLink: boolean;
}

/** Every entry below `directory` that is no directory, hidden ones included; symbolic links are never entered. */
export async function* walkFiles(directory: string, below = ''): AsyncGenerator<FoundFile> {
  const deeper: string[] = [];
  for await (const entry of await opendir(join(directory, below))) {
    if (entry.isDirectory()) deeper.push(entry.name);
    else yield { directory: below, name: entry.name, isLink: entry.isSymbolicLink() };
  }
  for (const name of deeper.sort()) yield* walkFiles(directory, below === '' ? name : `${below}/${name}`);
}

export interface ServedIndex {
  readonly repository: string;
  readonly file: IndexFileName;
}

/** The indexes below `directory`, by path. */
export async function findServedIndexes(directory: string): Promise<ServedIndex[]> {
  const found: ServedIndex[] = [];
  for await (const { directory: repository, name } of walkFiles(directory))
    if (isIndexFileName(name)) found.push({ repository, file: name });
  return found.sort((a, b) => (`${a.repository}/${a.file}` < `${b.repository}/${b.file}` ? -1 : 1));
}

/** The first of `inboxes` that may hold `repository`, and the architecture its index must be for; null: none may. */
export function ownerOf<T extends { readonly repositories: readonly Template[] }>(
  inboxes: readonly T[],
  { repository, file }: ServedIndex,
): { readonly inbox: T; readonly arch: string | null } | null {
  for (const inbox of inboxes) {
    for (const template of inbox.repositories) {
      const match = matchTemplate(template, repository);
      // Where the packages of packages.adb lie does not hang on the name of its directory.
      const inPlace = file === 'packages.adb' ? null : (repository.split('/').at(-1) ?? '');
      if (match !== null) return { inbox, arch: match.arch ?? inPlace };
    }
  }
  return null;
}

/** Name and version in the name of a package file. */
export function splitFileName(file: string): { readonly name: string; readonly version: string } {
  const [, name, version] = /^(.+)-([^-]+-r\d+)\.apk$/.exec(file) ?? [];
  return name === undefined || version === undefined ? { name: file, version: '' } : { name, version };
}
