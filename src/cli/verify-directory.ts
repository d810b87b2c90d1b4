/** Walks a directory of repositories for `verify`: each index, the packages it names, then what no index names. */
import { constants } from 'node:fs';
import { open, readdir, realpath } from 'node:fs/promises';
import { basename, dirname, join, sep } from 'node:path';
import { type IndexEntry, isIndexFileName, packageFileName } from '../apk/entry.ts';
import { errnoOf, messageOf, type VerificationCode } from '../errors.ts';
import type { Keyring } from '../trust/keyring.ts';
import type { IndexVerdict, PackageVerdict, SignaturePolicy, Verifier } from '../trust/verify.ts';

/** What is said of one path. An accepted one may carry a code as a warning. */
export interface Line {
  readonly path: string;
  readonly verdict: 'accepted' | 'rejected' | 'held' | 'unreadable';
  readonly code: VerificationCode | null;
  readonly detail: string;
}

export interface Tools {
  readonly verifier: Verifier;
  readonly keyring: Keyring;
  readonly packageSignatures: SignaturePolicy;
  readonly signal: AbortSignal;
}

interface File {
  /** As it is shown. */
  readonly path: string;
  /** Without symlinks. */
  readonly real: string;
  readonly kind: 'package' | 'index';
  readonly entry: IndexEntry | null;
}

/** Verifies one file; an index gives only its own line. */
export async function verifyFile(
  file: File,
  tools: Tools,
  onEntries: (entries: readonly IndexEntry[]) => void = () => {},
): Promise<Line[]> {
  const { path, real, kind, entry } = file;
  const { verifier, keyring, packageSignatures, signal } = tools;
  const name = basename(path);
  try {
    // Never waits for a writer of a FIFO; a descriptor that is no regular file is the verifier's to refuse.
    await using handle = await open(real, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
    const sourceFd = handle.fd;
    const verdict =
      kind === 'index'
        ? await verifier.verifyIndex({
            sourceFd,
            arch: archOf(real),
            ...(isIndexFileName(name) ? { fileName: name } : {}),
            keyring,
            ignoreLinks: true,
            onEntries,
            signal,
          })
        : await verifier.verifyPackage({
            sourceFd,
            entry,
            keyring,
            packageSignatures,
            ignoreLinks: true,
            inflate: true,
            explainSize: true,
            signal,
          });
    return [lineOf(path, verdict)];
  } catch (error) {
    signal.throwIfAborted();
    return [{ path, verdict: 'unreadable', code: null, detail: messageOf(error) }];
  }
}

function lineOf(path: string, verdict: IndexVerdict | PackageVerdict): Line {
  if (verdict.verdict !== 'accepted') return { path, ...verdict };
  const warning = 'warning' in verdict ? verdict.warning : undefined;
  return { path, verdict: 'accepted', code: warning?.code ?? null, detail: warning?.detail ?? '' };
}

/** The architectures that apk knows. */
const arches: readonly string[] =
  'aarch64 armel armhf armv7 loongarch64 mips mips64 mips64el mipsel noarch ppc ppc64 ppc64le riscv32 riscv64 s390x x86 x86_64'.split(
    ' ',
  );

/** What an index in this place must be for: the name of its directory if that is an architecture. */
function archOf(index: string): string | null {
  const name = basename(dirname(index));
  return arches.includes(name) ? name : null;
}

/** Verifies every repository below `root` and every package there. */
export async function verifyDirectory(root: string, tools: Tools, tell: (line: Line) => void): Promise<void> {
  const top = await realpath(root);
  const packages = new Set<string>();
  const indexes: string[] = [];
  for await (const name of walk(top, '', tell, root)) {
    if (isIndexFileName(basename(name))) indexes.push(name);
    else if (name.endsWith('.apk')) packages.add(name);
  }
  const place = { root, top, tools, tell };
  for (const index of indexes.sort()) {
    for (const listed of await verifyRepository(index, place)) packages.delete(listed);
  }
  await inOrder([...packages].sort(), async (name) => verifyBelow(name, 'package', null, place), tell);
}

interface Place {
  readonly root: string;
  readonly top: string;
  readonly tools: Tools;
  readonly tell: (line: Line) => void;
}

/** The index, then the packages it names, if it may be believed; returns the names that were dealt with. */
async function verifyRepository(index: string, place: Place): Promise<string[]> {
  const entries: IndexEntry[] = [];
  const lines = await verifyBelow(index, 'index', null, place, (slice) => void entries.push(...slice));
  for (const line of lines) place.tell(line);
  if (!lines.every((line) => line.verdict === 'accepted')) return [];
  const nameOf = (entry: IndexEntry): string => join(dirname(index), packageFileName(entry));
  await inOrder(entries, async (entry) => verifyBelow(nameOf(entry), 'package', entry, place), place.tell);
  return entries.map(nameOf);
}

async function verifyBelow(
  name: string,
  kind: File['kind'],
  entry: IndexEntry | null,
  place: Place,
  onEntries?: (entries: readonly IndexEntry[]) => void,
): Promise<Line[]> {
  const path = join(place.root, name);
  const real = await realpath(join(place.top, name)).catch((error: unknown) => errnoOf(error) ?? '');
  if (entry !== null && (real === 'ENOENT' || real === 'ENOTDIR')) {
    return [
      {
        path,
        verdict: 'rejected',
        code: 'PACKAGE_MISSING',
        detail: 'the index names this package, and it is not there',
      },
    ];
  }
  if (!real.startsWith('/')) {
    return [{ path, verdict: 'rejected', code: 'NOT_REGULAR', detail: `a symlink that leads to nothing: ${real}` }];
  }
  if (!real.startsWith(place.top === sep ? sep : `${place.top}${sep}`)) {
    return [{ path, verdict: 'rejected', code: 'NOT_REGULAR', detail: 'a symlink that leads out of the directory' }];
  }
  return verifyFile({ path, real, kind, entry }, place.tools, onEntries);
}

/** The names of all files below, hidden ones left out; directories are not entered through symlinks, which could be loops. */
async function* walk(top: string, below: string, tell: (line: Line) => void, root: string): AsyncGenerator<string> {
  const entries = await readdir(join(top, below), { withFileTypes: true }).catch((error: unknown) => {
    tell({ path: join(root, below), verdict: 'unreadable', code: null, detail: messageOf(error) });
    return [];
  });
  for (const entry of entries) {
    if (entry.name.startsWith('.')) continue;
    const name = join(below, entry.name);
    if (entry.isDirectory()) yield* walk(top, name, tell, root);
    else yield name;
  }
}

/** Works on a few items at a time and tells the lines in the order of the items. */
async function inOrder<T>(
  items: readonly T[],
  work: (item: T) => Promise<Line[]>,
  tell: (line: Line) => void,
): Promise<void> {
  const ahead = 8;
  const running: Promise<Line[]>[] = [];
  const tellFirst = async (): Promise<void> => {
    for (const line of (await running.shift()) ?? []) tell(line);
  };
  try {
    for (const item of items) {
      const lines = work(item);
      // Looked at in its turn; until then a failure must not count as unhandled.
      lines.catch(() => {});
      running.push(lines);
      if (running.length >= ahead) await tellFirst();
    }
    while (running.length > 0) await tellFirst();
  } finally {
    await Promise.allSettled(running);
  }
}
