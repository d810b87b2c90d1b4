/** A builder of signed sample repositories on disk: what the demo, the tests and the bench upload. */
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { packageFileName } from '../apk/entry.ts';
import {
  type MadeEntry,
  type MadePackage,
  makeIndex,
  makePackage,
  type PackageSpec,
  type SigningKey,
} from '../apk/make.ts';

/** One repository as its builder has it: `write` brings a directory up to date, packages first, as apk's own tools do. */
export class SampleRepository {
  /** Path below the inbox and below the public tree; its last component is the architecture. */
  readonly path: string;
  readonly arch: string;
  readonly #key: SigningKey;
  readonly #entries = new Map<string, MadeEntry>();
  #unwritten: MadePackage[] = [];
  #gone: string[] = [];

  constructor(path: string, key: SigningKey) {
    this.path = path;
    this.arch = path.split('/').at(-1) ?? '';
    this.#key = key;
  }

  get entries(): readonly MadeEntry[] {
    return [...this.#entries.values()];
  }

  /** Adds or replaces the package of that name. */
  set(spec: Omit<PackageSpec, 'arch'>): MadePackage {
    const made = makePackage({ ...spec, arch: this.arch }, this.#key);
    this.remove(spec.name);
    this.#entries.set(spec.name, made.entry);
    this.#gone = this.#gone.filter((file) => file !== made.file);
    this.#unwritten.push(made);
    return made;
  }

  remove(name: string): void {
    const entry = this.#entries.get(name);
    if (!entry) return;
    this.#entries.delete(name);
    this.#gone.push(packageFileName(entry));
  }

  index(description = 'sample'): Buffer {
    return makeIndex(this.#entries.values(), this.#key, { description });
  }

  /** Writes what is new since the last call below `directory`, then the index; removes what left. */
  async write(directory: string, options: { readonly index?: boolean } = {}): Promise<void> {
    const target = join(directory, this.path);
    await mkdir(target, { recursive: true });
    for (const made of this.#unwritten) await writeFile(join(target, made.file), made.bytes);
    this.#unwritten = [];
    if (options.index !== false) {
      await writeFile(join(target, '.APKINDEX.tar.gz.new'), this.index());
      await rename(join(target, '.APKINDEX.tar.gz.new'), join(target, 'APKINDEX.tar.gz'));
    }
    for (const file of this.#gone) await rm(join(target, file), { force: true });
    this.#gone = [];
  }
}
