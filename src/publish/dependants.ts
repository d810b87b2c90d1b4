/** Finds which served packages need what a recall takes away and nothing else provides: reads the served indexes, keeps names only. */
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { type PackageRelations, RelationsReader } from '../apk/relations.ts';
import { FormatError, messageOf } from '../errors.ts';
import type { IndexRow } from '../store/generations.ts';
import type { HeldFile } from '../store/recalls.ts';

/** The packages of one index that need what goes. */
interface IndexDependants {
  readonly index: string;
  readonly count: number;
  /** Some of the names that they need, in the order in which they were met. */
  readonly needs: readonly string[];
  /** `NAME-VERSION` of the first of them. */
  readonly packages: readonly string[];
}

export interface Dependants {
  /** Packages of all indexes together: one that a v2 and a v3 index name counts twice. */
  readonly count: number;
  /** Only those that have any, by path. */
  readonly indexes: readonly IndexDependants[];
  /** Indexes of which nothing is known, and why. */
  readonly unread: readonly { readonly index: string; readonly reason: string }[];
}

interface Served {
  /** The tree that is served, an absolute path. */
  readonly directory: string;
  readonly indexes: readonly Pick<IndexRow, 'repository' | 'file'>[];
  /** False: nobody wants to know any more; what was not read yet is `unread`. */
  readonly wanted: () => boolean;
}

/** Packages that are named, over all indexes. */
const packagesNamed = 50;
/** Names that are told of an index's needs. */
const needsNamed = 5;
/** Names that are looked for; a package of the size of a kernel provides some hundreds. */
const namesLimit = 20_000;
/** A name may be as long as a line of the index. */
const textLength = 200;
const chunkBytes = 64 * 1024;
const anyArch = 'noarch';

/**
 * Packages that need a name of the recalled `files` which no package that stays provides for their architecture, neither in
 * the release of the recalled one nor in their own. A release is what shares the path above `REPOSITORY/ARCH`. Versions are
 * not compared: `foo>=2` needs `foo`. An index that cannot be read is told, and is no error.
 */
export async function findDependants(files: readonly HeldFile[], served: Served): Promise<Dependants> {
  const survey = new Survey(files, served);
  await survey.gatherNames(new Set(files.flatMap(({ indexes }) => indexes)));
  await survey.gatherProviders();
  await survey.gatherDependants();
  return survey.result();
}

class Survey {
  readonly #recalled: ReadonlySet<string>;
  readonly #served: Served;
  /** By the name: the places from which it goes. */
  readonly #names = new Map<string, Map<string, Place>>();
  /** Which names stay where: keys as `keyOf` makes them. */
  readonly #staying = new Set<string>();
  readonly #unread = new Map<string, string>();
  readonly #found = new Map<string, Found>();
  #count = 0;

  constructor(files: readonly HeldFile[], served: Served) {
    this.#recalled = new Set(files.map(({ repository, file }) => `${repository}/${file}`));
    this.#served = served;
  }

  /** What the recalled packages are called and provide. */
  async gatherNames(indexes: ReadonlySet<string>): Promise<void> {
    await this.#eachPackage(
      (path) => indexes.has(path),
      ({ arch, provides }, repository) => {
        const place = { release: releaseOf(repository), arch };
        for (const name of provides) {
          const places = this.#names.get(name) ?? new Map<string, Place>();
          this.#names.set(name, places.set(keyOf(place, ''), place));
        }
        if (this.#names.size > namesLimit)
          throw new FormatError('LIMIT', `the recalled packages provide more than ${namesLimit} names`);
      },
      'recalled',
    );
  }

  /** Which of these names stay; those that do where they are taken from are not looked for any more. */
  async gatherProviders(): Promise<void> {
    await this.#eachPackage(
      () => this.#names.size > 0,
      ({ arch, provides }, repository) => {
        const place = { release: releaseOf(repository), arch };
        for (const name of provides) if (this.#names.has(name)) this.#staying.add(keyOf(place, name));
      },
      'staying',
    );
    for (const [name, places] of this.#names) {
      for (const [key, place] of places) if (this.#stays(name, place)) places.delete(key);
      if (places.size === 0) this.#names.delete(name);
    }
  }

  async gatherDependants(): Promise<void> {
    await this.#eachPackage(
      () => this.#names.size > 0,
      (relations, repository, index) => {
        const needs = relations.depends.filter((name) => this.#misses(name, relations.arch, repository));
        if (needs.length > 0) this.#note(index, relations, needs);
      },
      'staying',
    );
  }

  result(): Dependants {
    return {
      count: this.#count,
      indexes: [...this.#found].map(([index, { needs, ...found }]) => ({ index, ...found, needs: [...needs] })),
      unread: [...this.#unread].map(([index, reason]) => ({ index, reason })),
    };
  }

  /** Goes through the packages of the served indexes whose path `takes` accepts, either the recalled ones or the others. */
  async #eachPackage(
    takes: (path: string) => boolean,
    onPackage: (relations: PackageRelations, repository: string, index: string) => void,
    which: 'recalled' | 'staying',
  ): Promise<void> {
    for (const { repository, file } of this.#served.indexes) {
      const path = `${repository}/${file}`;
      if (this.#unread.has(path) || !takes(path)) continue;
      try {
        if (!this.#served.wanted()) throw new Error('the daemon stops');
        await readIndex(join(this.#served.directory, path), (relations) => {
          const goes = this.#recalled.has(`${repository}/${relations.file}`);
          if (goes === (which === 'recalled')) onPackage(relations, repository, path);
        });
      } catch (error) {
        this.#unread.set(path, messageOf(error));
      }
    }
  }

  #stays(name: string, { release, arch }: Place): boolean {
    return (
      this.#staying.has(keyOf({ release, arch }, name)) || this.#staying.has(keyOf({ release, arch: anyArch }, name))
    );
  }

  /** True when a package for `arch` in `repository` could have `name` from what goes, and from nothing that stays. */
  #misses(name: string, arch: string, repository: string): boolean {
    const release = releaseOf(repository);
    for (const place of this.#names.get(name)?.values() ?? []) {
      if (place.arch !== arch && place.arch !== anyArch && arch !== anyArch) continue;
      const common = place.arch === anyArch ? arch : place.arch;
      if (!this.#stays(name, { ...place, arch: common }) && !this.#stays(name, { release, arch: common })) return true;
    }
    return false;
  }

  #note(index: string, { name, version }: PackageRelations, missed: readonly string[]): void {
    const found = this.#found.get(index) ?? { count: 0, needs: new Set<string>(), packages: [] };
    this.#found.set(index, found);
    for (const need of missed) if (found.needs.size < needsNamed) found.needs.add(need.slice(0, textLength));
    if (this.#count < packagesNamed) found.packages.push(`${name}-${version}`.slice(0, textLength));
    found.count += 1;
    this.#count += 1;
  }
}

interface Found {
  count: number;
  readonly needs: Set<string>;
  readonly packages: string[];
}

/** Where a name is provided: for which architecture, in which release. */
interface Place {
  readonly release: string;
  readonly arch: string;
}

function keyOf({ release, arch }: Place, name: string): string {
  return `${release}\n${arch}\n${name}`;
}

function releaseOf(repository: string): string {
  return repository.split('/').slice(0, -2).join('/');
}

async function readIndex(path: string, onPackage: (relations: PackageRelations) => void): Promise<void> {
  await using handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  using reader = new RelationsReader(onPackage);
  const chunk = Buffer.allocUnsafe(chunkBytes);
  for (let at = 0; ; ) {
    const { bytesRead } = await handle.read(chunk, 0, chunk.length, at);
    if (bytesRead === 0) break;
    await reader.push(chunk.subarray(0, bytesRead));
    at += bytesRead;
  }
  await reader.finish();
}
