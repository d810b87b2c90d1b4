/**
 * A file system in memory that keeps apart what is seen and what would survive a power cut: content survives a sync of the
 * file, names a sync of their directory. A crash keeps any part of the rest, in any order that a journal could leave.
 */
import { constants } from 'node:fs';
import { basename, dirname } from 'node:path';
import type { FileFacts, Files, OpenFile } from '../../src/system/files.ts';
import { type Change, type Content, Image, inOrder, type Random } from './sim-image.ts';

export class SimFiles implements Files {
  /** Called after each change, when a crash would find something new. */
  onChange: () => void = () => {};
  readonly #seen: Image;
  readonly #durable: Image;
  #pending: Change[] = [];
  readonly #dirty = new Set<number>();
  readonly #ordered: boolean;
  readonly #open = new Map<number, number>();
  #nextIno: number;
  #nextFd = 3;

  /**
   * `ordered`: names change on the disk in the order in which they were changed, as in the journal of ext4 or xfs, and a sync
   * takes all of the journal up to the last change of what is synced. Otherwise a name survives by a sync of its directory alone.
   */
  constructor(image = new Image(), { ordered = false } = {}) {
    this.#ordered = ordered;
    this.#seen = image.copy();
    this.#durable = image.copy();
    this.#nextIno = Math.max(...image.nodes.keys()) + 1;
  }

  /** What is seen now. */
  get image(): Image {
    return this.#seen;
  }

  /** What a power cut at this moment may leave. */
  crash(random: Random): Image {
    const image = this.#durable.copy();
    const share = random();
    const survive = this.#ordered
      ? this.#pending.slice(0, Math.floor(share * (this.#pending.length + 1)))
      : inOrder(this.#pending, () => random() < share);
    for (const change of survive) image.apply(change);
    for (const ino of this.#dirty) {
      const seen = this.#seen.nodes.get(ino);
      const old = image.nodes.get(ino);
      if (seen?.kind !== 'file' || old?.kind !== 'file') continue;
      const which = random();
      if (which < 0.4) continue;
      // What a sync took stays, when only mode or time were set since.
      const data =
        which < 0.7 && !seen.data.equals(old.data)
          ? seen.data.subarray(0, Math.floor(random() * seen.data.length))
          : seen.data;
      image.nodes.set(ino, { ...seen, data });
    }
    image.dropUnreachable();
    return image;
  }

  async open(path: string, flags: string | number, mode = 0o666): Promise<OpenFile> {
    const { create, exclusive, truncate, directory, noFollow } = meaningOf(flags);
    let found = this.#find(path);
    if (found && exclusive) throw failure('EEXIST', path);
    if (!found && !create) throw failure('ENOENT', path);
    if (found?.node.kind === 'link' && noFollow) throw failure('ELOOP', path);
    if (!found) {
      this.#change([this.#entry(path, this.#make({ ...emptyFile, mode }))]);
      found = this.#existing(path);
    } else if (truncate) this.#update(found.ino, { data: Buffer.alloc(0) });
    const isDirectory = found.node.kind === 'directory';
    if (directory && !isDirectory) throw failure('ENOTDIR', path);
    const { ino } = found;
    const fd = this.#nextFd++;
    this.#open.set(fd, ino);
    return {
      fd,
      stat: async () => this.#facts(ino),
      read: async (buffer, offset, length, position) => ({
        bytesRead: this.#file(ino).data.copy(buffer, offset, position, position + length),
      }),
      write: async (buffer, offset, length, position) => {
        const { data } = this.#file(ino);
        const grown = Buffer.alloc(Math.max(data.length, position + length));
        data.copy(grown);
        buffer.copy(grown, position, offset, offset + length);
        this.#update(ino, { data: grown });
        return { bytesWritten: length };
      },
      writeFile: async (data) => this.#update(ino, { data: Buffer.from(data) }),
      utimes: async (_access, mtimeSeconds) => this.#update(ino, { mtimeSeconds }),
      chmod: async (bits) => {
        if (!isDirectory) this.#update(ino, { mode: bits });
      },
      sync: async () => (isDirectory ? this.#syncDirectory(ino) : this.#syncFile(ino)),
      close: async () => void this.#open.delete(fd),
    };
  }

  async mkdir(path: string, { recursive = true }: { readonly recursive?: boolean } = {}): Promise<string | undefined> {
    if (this.#find(path)) {
      if (!recursive) throw failure('EEXIST', path);
      return undefined;
    }
    const above = recursive ? await this.mkdir(dirname(path)) : undefined;
    this.#change([this.#entry(path, this.#make({ kind: 'directory', entries: new Map() }))]);
    return above ?? path;
  }

  async chmod(): Promise<void> {}

  async link(existing: string, path: string): Promise<void> {
    const { ino } = this.#existing(existing);
    if (this.#find(path)) throw failure('EEXIST', path);
    this.#change([this.#entry(path, ino)]);
  }

  async symlink(target: string, path: string): Promise<void> {
    if (this.#find(path)) throw failure('EEXIST', path);
    this.#change([this.#entry(path, this.#make({ kind: 'link', target }))]);
  }

  async rename(from: string, to: string): Promise<void> {
    const { ino } = this.#existing(from);
    if (this.#find(to)?.ino === ino) return;
    this.#change([this.#entry(from, null), this.#entry(to, ino)]);
  }

  async rm(path: string): Promise<void> {
    const found = this.#find(path);
    if (found?.node.kind === 'directory') throw failure('EISDIR', path);
    if (found) this.#change([this.#entry(path, null)]);
  }

  async unlink(path: string): Promise<void> {
    this.#existing(path);
    await this.rm(path);
  }

  async rmdir(path: string): Promise<void> {
    const { node } = this.#existing(path);
    if (node.kind !== 'directory') throw failure('ENOTDIR', path);
    if (node.entries.size > 0) throw failure('ENOTEMPTY', path);
    this.#change([this.#entry(path, null)]);
  }

  async readdir(path: string): Promise<string[]> {
    const { node } = this.#existing(path);
    if (node.kind !== 'directory') throw failure('ENOTDIR', path);
    return [...node.entries.keys()];
  }

  async readlink(path: string): Promise<string> {
    const { node } = this.#existing(path);
    if (node.kind !== 'link') throw failure('EINVAL', path);
    return node.target;
  }

  async stat(path: string): Promise<FileFacts> {
    return this.#facts(this.#existing(path).ino);
  }

  lstat(path: string): Promise<FileFacts> {
    return this.stat(path);
  }

  async isDirectory(path: string): Promise<boolean> {
    return this.#find(path)?.node.kind === 'directory';
  }

  async removeTree(path: string): Promise<void> {
    const found = this.#find(path);
    if (!found) return;
    if (found.node.kind !== 'directory') return this.rm(path);
    for (const name of await this.readdir(path)) await this.removeTree(`${path}/${name}`);
    await this.rmdir(path);
  }

  /** Paths through an open descriptor lead to what was opened, whatever its name is by now. */
  #find(path: string): { ino: number; node: Content } | null {
    const [, fd, below = ''] = /^\/proc\/self\/fd\/(\d+)(.*)$/.exec(path) ?? [];
    if (fd === undefined) return this.#seen.find(path);
    const ino = this.#open.get(Number(fd));
    if (ino === undefined) throw failure('ENOENT', path);
    return this.#seen.find(below, ino);
  }

  #file(ino: number): Content & { readonly kind: 'file' } {
    const node = this.#seen.nodes.get(ino);
    if (node?.kind !== 'file') throw failure('EISDIR', String(ino));
    return node;
  }

  #facts(ino: number): FileFacts {
    const node = this.#seen.nodes.get(ino);
    const file = node?.kind === 'file' ? node : null;
    const timeMs = (file?.mtimeSeconds ?? 0) * 1000;
    return {
      ino,
      dev: 1,
      mode: file === null ? 0o040755 : 0o100000 | file.mode,
      nlink: this.#seen.namesOf(ino),
      size: file?.data.length ?? 0,
      atimeMs: timeMs,
      mtimeMs: timeMs,
      isFile: () => file !== null,
    };
  }

  #existing(path: string): { ino: number; node: Content } {
    const found = this.#find(path);
    if (!found) throw failure('ENOENT', path);
    return found;
  }

  #entry(path: string, ino: number | null): Change[number] {
    const { ino: directory, node } = this.#existing(dirname(path));
    if (node.kind !== 'directory') throw failure('ENOTDIR', path);
    return { directory, name: basename(path), ino };
  }

  #make(node: Content): number {
    const ino = this.#nextIno++;
    this.#seen.nodes.set(ino, node);
    // An inode is nothing that can be seen until a name of it survives; then it is empty.
    if (node.kind === 'directory') this.#durable.nodes.set(ino, { kind: 'directory', entries: new Map() });
    else this.#durable.nodes.set(ino, node);
    return ino;
  }

  #change(change: Change): void {
    this.#seen.apply(change);
    this.#pending.push(change);
    this.onChange();
  }

  #update(ino: number, part: { data?: Buffer; mtimeSeconds?: number; mode?: number }): void {
    this.#seen.nodes.set(ino, { ...this.#file(ino), ...part });
    this.#dirty.add(ino);
    this.onChange();
  }

  #syncFile(ino: number): void {
    const node = this.#seen.nodes.get(ino);
    if (node) this.#durable.nodes.set(ino, node);
    if (this.#ordered) this.#syncJournal((part) => part.ino === ino, this.#dirty.has(ino));
    this.#dirty.delete(ino);
    this.onChange();
  }

  #syncDirectory(ino: number): void {
    if (this.#ordered) this.#syncJournal((part) => part.directory === ino, false);
    else this.#keep(inOrder(this.#pending, (change) => change.some((part) => part.directory === ino)));
    this.onChange();
  }

  /** All of the journal, or up to the last change that touches what is synced. */
  #syncJournal(touches: (part: Change[number]) => boolean, all: boolean): void {
    const last = all ? this.#pending.length - 1 : this.#pending.findLastIndex((change) => change.some(touches));
    this.#keep(this.#pending.slice(0, last + 1));
  }

  #keep(changes: readonly Change[]): void {
    const kept = new Set(changes);
    for (const change of kept) this.#durable.apply(change);
    this.#pending = this.#pending.filter((change) => !kept.has(change));
  }
}

const emptyFile = { kind: 'file', data: Buffer.alloc(0), mtimeSeconds: 0 } as const;

function meaningOf(flags: string | number): {
  create: boolean;
  exclusive: boolean;
  truncate: boolean;
  directory: boolean;
  noFollow: boolean;
} {
  if (typeof flags === 'string') {
    const create = flags.startsWith('w');
    const exclusive = flags.endsWith('x');
    return { create, exclusive, truncate: create && !exclusive, directory: false, noFollow: false };
  }
  const has = (flag: number): boolean => (flags & flag) !== 0;
  const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_TRUNC } = constants;
  return {
    create: has(O_CREAT),
    exclusive: has(O_EXCL),
    truncate: has(O_TRUNC),
    directory: has(O_DIRECTORY),
    noFollow: has(O_NOFOLLOW),
  };
}

function failure(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${path}`), { code });
}
