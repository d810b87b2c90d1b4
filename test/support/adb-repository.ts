/** A builder of signed v3 repositories on disk, as `SampleRepository` is for v2. */
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type AdbSigningKey, type MadeAdbPackage, makeAdbIndex, makeAdbPackage } from '../../src/apk/make-adb.ts';

export interface AdbRepositoryOptions {
  readonly indexFile: 'Packages.adb' | 'packages.adb';
  /** How clients make the path of a package; default `<name>-<version>.apk`. */
  readonly pkgnameSpec?: string;
}

export class AdbRepository {
  readonly path: string;
  readonly #key: AdbSigningKey;
  readonly #options: AdbRepositoryOptions;
  readonly #packages = new Map<string, MadeAdbPackage>();

  constructor(path: string, key: AdbSigningKey, options: AdbRepositoryOptions) {
    this.path = path;
    this.#key = key;
    this.#options = options;
  }

  /** Adds or replaces the package of that name. */
  set(name: string, version: string, content: string): void {
    const arch = this.path.split('/').at(-1) ?? '';
    const files = { 'usr/share': [{ name, content: Buffer.from(content) }] };
    const compression = this.#packages.size % 2 === 0 ? 'deflate' : 'zstd';
    this.#packages.set(name, makeAdbPackage({ name, version, arch, files, compression }, [this.#key]));
  }

  remove(name: string): void {
    this.#packages.delete(name);
  }

  /** Under which name the rule of this repository puts a package. */
  fileOf({ entry }: MadeAdbPackage): string {
    const spec = this.#options.pkgnameSpec ?? '${name}-${version}.apk';
    return spec.replace('${name}', entry.name).replace('${version}', entry.version);
  }

  /** Writes the packages below `directory`, then the index. */
  async write(directory: string, options: { readonly key?: AdbSigningKey } = {}): Promise<void> {
    const target = join(directory, this.path);
    await mkdir(target, { recursive: true });
    const packages = [...this.#packages.values()];
    for (const made of packages) await writeFile(join(target, this.fileOf(made)), made.bytes);
    const { pkgnameSpec, indexFile } = this.#options;
    const index = makeAdbIndex(
      packages.map((made) => made.entry),
      options.key ?? this.#key,
      pkgnameSpec === undefined ? { description: 'v3' } : { description: 'v3', pkgnameSpec },
    );
    await writeFile(join(target, '.new'), index);
    await rename(join(target, '.new'), join(target, indexFile));
  }
}
