/**
 * Opens what lies in an inbox without ever following what the uploader controls: one path component at a time, each
 * through the descriptor of the directory above it. Reads names and descriptors; decides nothing about content.
 */
import { type BigIntStats, constants } from 'node:fs';
import { type FileHandle, lstat, open, opendir, readlink } from 'node:fs/promises';
import { errnoOf, type VerificationCode } from '../errors.ts';
import { escapeText } from '../system/log.ts';

export type Opened =
  /** `stat` is one line that changes whenever the file does; `size` and `onDisk` in bytes. The caller closes `handle`. */
  | {
      readonly kind: 'file';
      readonly handle: FileHandle;
      readonly stat: string;
      readonly size: number;
      readonly onDisk: number;
    }
  | { readonly kind: 'absent' }
  | { readonly kind: 'refused'; readonly code: VerificationCode; readonly detail: string };

/** What lies under a name, without its content; `stat` as above, and for what is refused a line that says why. */
export type Seen =
  | { readonly kind: 'file'; readonly stat: string; readonly size: number; readonly onDisk: number }
  | { readonly kind: 'absent'; readonly stat: 'absent' }
  | { readonly kind: 'refused'; readonly stat: string; readonly code: VerificationCode; readonly detail: string };

const directoryFlags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
// O_NONBLOCK: a FIFO must not hang the thread pool; O_NOCTTY: a terminal must not become ours.
const fileFlags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY;

/** rsync prefixes the targets of uploaded symlinks with this under `rrsync -munge`. */
const mungePrefix = '/rsyncd-munged/';
const maximumLinks = 8;
/** Names that one system call may bring. */
const entriesAtOnce = 256;

/** An open inbox; every path given to it is relative to the inbox and made of plain components. */
export class Inbox implements AsyncDisposable {
  readonly #root: FileHandle;
  readonly #stat: BigIntStats;
  /** Which directory this is, whatever its path means later. */
  readonly place: string;

  private constructor(root: FileHandle, stat: BigIntStats) {
    this.#root = root;
    this.#stat = stat;
    this.place = placeOf(stat);
  }

  /** Null when there is no such directory now. */
  static async open(path: string): Promise<Inbox | null> {
    try {
      const root = await open(path, directoryFlags);
      return new Inbox(root, await root.stat({ bigint: true }));
    } catch (error) {
      if (isAbsence(error)) return null;
      throw error;
    }
  }

  /**
   * The directory at `components`, or null when it is absent, reached through a symlink, or on another file system: a mount
   * inside of an inbox is nothing that was uploaded.
   */
  async directory(components: readonly string[]): Promise<InboxDirectory | null> {
    let handle = this.#root;
    let stat = this.#stat;
    try {
      for (const component of components) {
        const next = await openChild(handle, component, directoryFlags);
        if (handle !== this.#root) await handle.close();
        handle = this.#root;
        if (next === null) return null;
        handle = next;
        stat = await handle.stat({ bigint: true });
        if (stat.dev === this.#stat.dev) continue;
        await handle.close();
        return null;
      }
    } catch (error) {
      if (handle !== this.#root) await handle.close();
      throw error;
    }
    return new InboxDirectory(this, { handle, components, owner: stat.uid, owned: handle !== this.#root });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#root.close();
  }
}

/** Device and inode as one word. */
export function placeOf({ dev, ino }: { readonly dev: bigint; readonly ino: bigint }): string {
  return `${dev}:${ino}`;
}

/** One directory of an inbox, held open so that many files below it cost one walk. */
export class InboxDirectory implements AsyncDisposable {
  readonly #inbox: Inbox;
  readonly #handle: FileHandle;
  readonly #components: readonly string[];
  readonly #owner: bigint;
  readonly #owned: boolean;

  /** `owner`: the uid of the directory; `owned`: the handle is closed with this object. */
  constructor(
    inbox: Inbox,
    opened: {
      readonly handle: FileHandle;
      readonly components: readonly string[];
      readonly owner: bigint;
      readonly owned: boolean;
    },
  ) {
    this.#inbox = inbox;
    this.#handle = opened.handle;
    this.#components = opened.components;
    this.#owner = opened.owner;
    this.#owned = opened.owned;
  }

  /**
   * The names of the subdirectories among the first `limit` entries, then null if there are more entries; names that are not
   * UTF-8 carry a replacement character and match nothing.
   */
  async *subdirectories(limit: number): AsyncGenerator<string | null> {
    let left = limit;
    for await (const entry of await opendir(descriptorPath(this.#handle), { bufferSize: entriesAtOnce })) {
      if (left-- === 0) {
        yield null;
        return;
      }
      if (entry.isDirectory()) yield entry.name;
    }
  }

  /** True when there are more than `limit` entries, whatever they are. */
  async hasMoreThan(limit: number): Promise<boolean> {
    let left = limit;
    for await (const _ of await opendir(descriptorPath(this.#handle), { bufferSize: entriesAtOnce }))
      if (left-- === 0) return true;
    return false;
  }

  /** As `openFile`, but only looks: one system call for a regular file. */
  async see(name: string): Promise<Seen> {
    const seen = isPlainName(name) ? await this.#lstat(name) : null;
    if (seen?.isFile() && !this.#isForeignLink(seen)) return { kind: 'file', ...measure(seen) };
    const opened = await this.openFile(name);
    if (opened.kind === 'file') {
      const { handle, ...file } = opened;
      await handle.close();
      return file;
    }
    return opened.kind === 'absent'
      ? { kind: 'absent', stat: 'absent' }
      : { ...opened, stat: `${opened.code} ${opened.detail}` };
  }

  /** Opens a regular file of this directory; a symlink counts as the file of this inbox that it points to. */
  async openFile(name: string): Promise<Opened> {
    return this.#open(name, maximumLinks);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#owned) await this.#handle.close();
  }

  async #lstat(name: string): Promise<BigIntStats | null> {
    return lstat(`${descriptorPath(this.#handle)}/${name}`, { bigint: true }).catch(() => null);
  }

  async #open(name: string, linksLeft: number): Promise<Opened> {
    if (!isPlainName(name)) return refused('NAME', 'no plain file name');
    let handle: FileHandle;
    try {
      handle = await open(`${descriptorPath(this.#handle)}/${name}`, fileFlags);
    } catch (error) {
      const code = errnoOf(error);
      if (code === 'ELOOP') return this.#follow(name, linksLeft);
      if (code === 'ENOENT') return { kind: 'absent' };
      if (code === 'ENAMETOOLONG') return refused('NAME', 'a name that is too long for the file system');
      if (code === 'ENXIO') return refused('NOT_REGULAR', 'a socket or device, expected a regular file');
      if (code === 'EACCES' || code === 'EPERM')
        return refused('NOT_REGULAR', 'not readable by the daemon, expected a file that its group may read');
      throw error;
    }
    const stat = await statOrClose(handle);
    if (stat.isFile() && !this.#isForeignLink(stat)) return { kind: 'file', handle, ...measure(stat) };
    await handle.close();
    return stat.isFile()
      ? refused('NOT_REGULAR', `a hard link to a file of another account (uid ${stat.uid}), expected a file of its own`)
      : refused('NOT_REGULAR', `a ${kindOf(stat)}, expected a regular file`);
  }

  /**
   * A second name of a file that does not belong to whoever made the directory: the daemon may be able to read what the uploader
   * cannot. The uploader's own hard links are harmless, because what counts is a copy.
   */
  #isForeignLink(stat: BigIntStats): boolean {
    return stat.nlink > 1n && stat.uid !== this.#owner;
  }

  async #follow(name: string, linksLeft: number): Promise<Opened> {
    let target: string;
    try {
      target = await readlink(`${descriptorPath(this.#handle)}/${name}`);
    } catch (error) {
      // The name was a symlink a moment ago and is something else now: the next pass looks again.
      if (errnoOf(error) === 'EINVAL' || errnoOf(error) === 'ENOENT') return { kind: 'absent' };
      throw error;
    }
    if (linksLeft === 0) return refused('NOT_REGULAR', `a chain of more than ${maximumLinks} symlinks`);
    const components = resolveLink(this.#components, target);
    const file = components?.pop();
    if (!components || file === undefined)
      return refused('NOT_REGULAR', `a symlink to ${escapeText(target)}, expected a file of the same inbox`);
    await using directory = await this.#inbox.directory(components);
    return directory === null ? { kind: 'absent' } : await directory.#open(file, linksLeft - 1);
  }
}

/**
 * Where a symlink in the directory `from` points to, as components below the inbox; null when it leaves the inbox or is
 * absolute. Purely by name: the components are then opened one by one without following anything.
 */
export function resolveLink(from: readonly string[], target: string): string[] | null {
  const relative = target.startsWith(mungePrefix) ? target.slice(mungePrefix.length) : target;
  if (relative === '' || relative.startsWith('/')) return null;
  const result = [...from];
  for (const part of relative.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') result.push(part);
    else if (result.pop() === undefined) return null;
  }
  return result;
}

/** What cannot even be looked at is of no use to anybody. */
async function statOrClose(handle: FileHandle): Promise<BigIntStats> {
  try {
    return await handle.stat({ bigint: true });
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function openChild(parent: FileHandle, name: string, flags: number): Promise<FileHandle | null> {
  try {
    return await open(`${descriptorPath(parent)}/${name}`, flags);
  } catch (error) {
    if (isAbsence(error)) return null;
    throw error;
  }
}

/** The kernel resolves this to the open directory itself, whatever its path means by now: a working openat for one component. */
function descriptorPath(handle: FileHandle): string {
  return `/proc/self/fd/${handle.fd}`;
}

function isAbsence(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR', 'ELOOP', 'EACCES'].includes(errnoOf(error) ?? '');
}

/** Names come from signed indexes, which the verifier checks; that one is enough to leave the inbox, so it is checked here too. */
function isPlainName(name: string): boolean {
  return name !== '' && name !== '.' && name !== '..' && !name.includes('/') && !name.includes('\0');
}

export function fingerprint(stat: BigIntStats): string {
  return `${stat.dev}:${stat.ino}:${stat.size}:${stat.mtimeNs}:${stat.ctimeNs}`;
}

function measure(stat: BigIntStats): { readonly stat: string; readonly size: number; readonly onDisk: number } {
  return { stat: fingerprint(stat), size: Number(stat.size), onDisk: Number(stat.blocks) * 512 };
}

function refused(code: VerificationCode, detail: string): Opened {
  return { kind: 'refused', code, detail };
}

function kindOf(stat: BigIntStats): string {
  if (stat.isDirectory()) return 'directory';
  if (stat.isFIFO()) return 'FIFO';
  if (stat.isSocket()) return 'socket';
  return 'device';
}
