/** The list of files that opens a run of rsync: what it says, in which order both sides number it. */
import { int32, varlong } from './rsync-wire.ts';

export interface ListedFile {
  readonly path: string;
  readonly size: number;
  readonly mtimeSeconds: number;
}

/** Directories of the files: only so that the other side finds them; it leaves those that it has as they are. */
export interface ListedDirectory {
  readonly directory: string;
}

export type Listed = ListedFile | ListedDirectory;

const modes = { file: 0o100644, directory: 0o040755 };
const topDirectory = 0x01;
const sameMode = 0x02;
const extendedFlags = 0x04;
const longName = 0x40;
const sameTime = 0x80;
const noContent = 0x0100;

/**
 * What is to be said of `files`, in the order in which both sides number it since version 29 of the protocol: bytewise,
 * directories as if they ended with a slash, and in each directory its files before what lies deeper.
 */
export function listOf<T extends ListedFile>(files: readonly T[]): (T | ListedDirectory)[] {
  const directories = new Set(files.flatMap(({ path }) => ancestorsOf(path)));
  const keyed = [
    ...[...directories].map((directory) => ({ one: { directory }, within: `${directory}/`, name: '' })),
    ...files.map((one) => {
      const cut = one.path.lastIndexOf('/') + 1;
      return { one, within: one.path.slice(0, cut), name: one.path.slice(cut) };
    }),
  ].map(({ one, within, name }) => ({ one, within: Buffer.from(within), name: Buffer.from(name) }));
  keyed.sort((a, b) => {
    const shared = Math.min(a.within.length, b.within.length);
    const order = a.within.compare(b.within, 0, shared, 0, shared);
    return order || a.within.length - b.within.length || a.name.compare(b.name);
  });
  return keyed.map(({ one }) => one);
}

/** A file list: each name whole, with size, time and mode. */
export function fileList(list: readonly Listed[]): Buffer {
  const parts: Buffer[] = [];
  let before = { mode: 0, mtimeSeconds: -1 };
  for (const one of list) {
    const isFile = 'path' in one;
    const name = Buffer.from(isFile ? one.path : one.directory);
    const { size, mtimeSeconds } = isFile ? one : { size: 0, mtimeSeconds: 0 };
    const mode = isFile ? modes.file : modes.directory;
    let flags = isFile ? 0 : topDirectory | noContent;
    if (name.length > 255) flags |= longName;
    if (mode === before.mode) flags |= sameMode;
    if (mtimeSeconds === before.mtimeSeconds) flags |= sameTime;
    // A zero would end the list.
    if (flags === 0 || flags > 0xff) parts.push(Buffer.from([flags | extendedFlags, flags >> 8]));
    else parts.push(Buffer.from([flags]));
    parts.push(name.length > 255 ? varlong(name.length, 1) : Buffer.from([name.length]), name, varlong(size, 3));
    if ((flags & sameTime) === 0) parts.push(varlong(mtimeSeconds, 4));
    if ((flags & sameMode) === 0) parts.push(int32(mode));
    before = { mode, mtimeSeconds };
  }
  return Buffer.concat([...parts, Buffer.from([0])]);
}

function ancestorsOf(path: string): string[] {
  const found: string[] = [];
  for (let cut = path.lastIndexOf('/'); cut > 0; cut = path.lastIndexOf('/', cut - 1)) found.push(path.slice(0, cut));
  return found;
}
