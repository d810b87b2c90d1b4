/**
 * A file system in memory that keeps apart what is seen and what would survive a power cut: content survives a sync of the
 * file, names a sync of their directory. A crash keeps any part of the rest, in any order that a journal could leave.
 */
import { constants } from 'node:fs';
import { basename, dirname } from 'node:path';
import type { Files, OpenFile } from '../../src/system/files.ts';

type Content =
  | { readonly kind: 'file'; readonly data: Buffer; readonly mtimeSeconds: number }
  | { readonly kind: 'link'; readonly target: string }
  | { readonly kind: 'directory'; readonly entries: Map<string, number> };

/** One change of names: all of it survives or nothing. */
type Change = readonly { readonly directory: number; readonly name: string; readonly ino: number | null }[];

export type Random = () => number;

const rootIno = 1;

/** What lies on the disk, by inode. */
export class Image {
  readonly nodes: Map<number, Content>;

  constructor(nodes: Map<number, Content> = new Map([[rootIno, { kind: 'directory', entries: new Map() }]])) {
    this.nodes = nodes;
  }

  copy(): Image {
    const nodes = new Map<number, Content>();
    for (const [ino, node] of this.nodes) {
      nodes.set(ino, node.kind === 'directory' ? { kind: 'directory', entries: new Map(node.entries) } : node);
    }
    return new Image(nodes);
  }

  find(path: string): { readonly ino: number; readonly node: Content } | null {
    let ino = rootIno;
    for (const name of path.split('/').filter(Boolean)) {
      const node = this.nodes.get(ino);
      const next = node?.kind === 'directory' ? node.entries.get(name) : undefined;
      if (next === undefined) return null;
      ino = next;
    }
    const node = this.nodes.get(ino);
    return node === undefined ? null : { ino, node };
  }

  /** Path -> content of the regular files below `path`, relative to it. */
  filesBelow(path: string): Map<string, string> {
    const files = new Map<string, string>();
    const walk = (at: string, below: string): void => {
      const node = this.find(at)?.node;
      if (node?.kind === 'file') files.set(below, node.data.toString());
      if (node?.kind !== 'directory') return;
      for (const name of node.entries.keys()) walk(`${at}/${name}`, below === '' ? name : `${below}/${name}`);
    };
    walk(path, '');
    return files;
  }

  apply(change: Change): void {
    for (const { directory, name, ino } of change) {
      const node = this.nodes.get(directory);
      if (node?.kind !== 'directory') continue;
      if (ino === null) node.entries.delete(name);
      else node.entries.set(name, ino);
    }
  }
}

export class SimFiles implements Files {
  /** Called after each change, when a crash would find something new. */
  onChange: () => void = () => {};
  readonly #seen: Image;
  readonly #durable: Image;
  #pending: Change[] = [];
  readonly #dirty = new Set<number>();
  #nextIno: number;

  constructor(image = new Image()) {
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
    for (const change of inOrder(this.#pending, () => random() < share)) image.apply(change);
    for (const ino of this.#dirty) {
      const seen = this.#seen.nodes.get(ino);
      const old = image.nodes.get(ino);
      if (seen?.kind !== 'file' || old?.kind !== 'file') continue;
      const which = random();
      if (which < 0.4) continue;
      const data = which < 0.7 ? seen.data.subarray(0, Math.floor(random() * seen.data.length)) : seen.data;
      image.nodes.set(ino, { ...seen, data });
    }
    return image;
  }

  async open(path: string, flags: string | number): Promise<OpenFile> {
    let found = this.#seen.find(path);
    if (flags === 'wx') {
      if (found) throw failure('EEXIST', path);
      const ino = this.#make({ kind: 'file', data: Buffer.alloc(0), mtimeSeconds: 0 });
      this.#change([this.#entry(path, ino)]);
      found = this.#seen.find(path);
    }
    if (!found) throw failure('ENOENT', path);
    const isDirectory = found.node.kind === 'directory';
    if (typeof flags === 'number' && (flags & constants.O_DIRECTORY) !== 0 && !isDirectory)
      throw failure('ENOTDIR', path);
    const { ino } = found;
    return {
      writeFile: async (data) => this.#update(ino, { data: Buffer.from(data) }),
      utimes: async (_access, mtimeSeconds) => this.#update(ino, { mtimeSeconds }),
      chmod: async () => {},
      sync: async () => (isDirectory ? this.#syncDirectory(ino) : this.#syncFile(ino)),
      close: async () => {},
    };
  }

  async mkdir(path: string): Promise<string | undefined> {
    if (this.#seen.find(path)) return undefined;
    const above = await this.mkdir(dirname(path));
    this.#change([this.#entry(path, this.#make({ kind: 'directory', entries: new Map() }))]);
    return above ?? path;
  }

  async chmod(): Promise<void> {}

  async link(existing: string, path: string): Promise<void> {
    const { ino } = this.#existing(existing);
    if (this.#seen.find(path)) throw failure('EEXIST', path);
    this.#change([this.#entry(path, ino)]);
  }

  async symlink(target: string, path: string): Promise<void> {
    if (this.#seen.find(path)) throw failure('EEXIST', path);
    this.#change([this.#entry(path, this.#make({ kind: 'link', target }))]);
  }

  async rename(from: string, to: string): Promise<void> {
    const { ino } = this.#existing(from);
    if (this.#seen.find(to)?.ino === ino) return;
    this.#change([this.#entry(from, null), this.#entry(to, ino)]);
  }

  async rm(path: string): Promise<void> {
    const found = this.#seen.find(path);
    if (found?.node.kind === 'directory') throw failure('EISDIR', path);
    if (found) this.#change([this.#entry(path, null)]);
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

  async stat(path: string): Promise<{ ino: number; dev: number; mtimeMs: number }> {
    const { ino, node } = this.#existing(path);
    return { ino, dev: 1, mtimeMs: node.kind === 'file' ? node.mtimeSeconds * 1000 : 0 };
  }

  async isDirectory(path: string): Promise<boolean> {
    return this.#seen.find(path)?.node.kind === 'directory';
  }

  async removeTree(path: string): Promise<void> {
    const found = this.#seen.find(path);
    if (!found) return;
    if (found.node.kind !== 'directory') return this.rm(path);
    for (const name of await this.readdir(path)) await this.removeTree(`${path}/${name}`);
    await this.rmdir(path);
  }

  #existing(path: string): { ino: number; node: Content } {
    const found = this.#seen.find(path);
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

  #update(ino: number, part: { data?: Buffer; mtimeSeconds?: number }): void {
    const node = this.#seen.nodes.get(ino);
    if (node?.kind !== 'file') throw failure('EISDIR', String(ino));
    this.#seen.nodes.set(ino, { ...node, ...part });
    this.#dirty.add(ino);
    this.onChange();
  }

  #syncFile(ino: number): void {
    const node = this.#seen.nodes.get(ino);
    if (node) this.#durable.nodes.set(ino, node);
    this.#dirty.delete(ino);
    this.onChange();
  }

  #syncDirectory(ino: number): void {
    const kept = new Set(inOrder(this.#pending, (change) => change.some((part) => part.directory === ino)));
    for (const change of kept) this.#durable.apply(change);
    this.#pending = this.#pending.filter((change) => !kept.has(change));
    this.onChange();
  }
}

/** The chosen changes, with all that came before them on the same names: a name does not take its second value first. */
function inOrder(changes: readonly Change[], choose: (change: Change) => boolean): Change[] {
  const names = new Set<string>();
  const chosen: Change[] = [];
  for (const change of changes.toReversed()) {
    const touched = change.map((part) => `${part.directory}/${part.name}`);
    if (!choose(change) && !touched.some((name) => names.has(name))) continue;
    for (const name of touched) names.add(name);
    chosen.push(change);
  }
  return chosen.toReversed();
}

function failure(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${path}`), { code });
}

/** The same file system under a program that forgets something: each must be found out. */
export const broken: Readonly<Record<string, (files: SimFiles) => Files>> = {
  'no sync of files': (files) => withSync(files, async (sync, isDirectory) => (isDirectory ? sync() : undefined)),
  'no sync of directories': (files) => withSync(files, async (sync, isDirectory) => (isDirectory ? undefined : sync())),
  'the link is switched before the syncs': (files) => {
    const late: (() => Promise<void>)[] = [];
    const changed = withSync(files, async (sync) => void late.push(sync));
    const rename = async (from: string, to: string): Promise<void> => {
      await files.rename(from, to);
      if (to.endsWith('/public')) for (const sync of late.splice(0)) await sync();
    };
    return Object.assign(changed, { rename });
  },
};

function withSync(files: SimFiles, sync: (real: () => Promise<void>, isDirectory: boolean) => Promise<void>): Files {
  const open = async (path: string, flags: string | number): Promise<OpenFile> => {
    const handle = await files.open(path, flags);
    const isDirectory = files.image.find(path)?.node.kind === 'directory';
    return { ...handle, sync: () => sync(() => handle.sync(), isDirectory) };
  };
  return {
    open,
    mkdir: (path) => files.mkdir(path),
    chmod: () => files.chmod(),
    link: (existing, path) => files.link(existing, path),
    symlink: (target, path) => files.symlink(target, path),
    rename: (from, to) => files.rename(from, to),
    rm: (path) => files.rm(path),
    rmdir: (path) => files.rmdir(path),
    readdir: (path) => files.readdir(path),
    readlink: (path) => files.readlink(path),
    stat: (path) => files.stat(path),
    isDirectory: (path) => files.isDirectory(path),
    removeTree: (path) => files.removeTree(path),
  };
}
