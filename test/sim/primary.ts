/** The primary of a simulation: the real store, and the content of its generations in memory. It publishes what the dice say. */
import { createHash } from 'node:crypto';
import { basename, dirname } from 'node:path';
import { traceContent } from '../../src/publish/plan.ts';
import { traceFile } from '../../src/store/trace.ts';
import type { Lease } from '../../src/publish/ports.ts';
import { Database } from '../../src/store/database.ts';
import { type Store, storeOn } from '../../src/store/store.ts';
import { toInstant } from '../../src/system/instant.ts';
import type { FileFacts } from '../../src/system/files.ts';
import type { Dice } from './dice.ts';
import { type Forget, remembering } from './memo.ts';

export const primaryName = 'primary';
export const indexFile = 'APKINDEX.tar.gz';
export const repositories = ['main/x86_64', 'main/aarch64', 'community/x86_64', 'testing/x86_64'];

/** The content of a file, wherever it lies; `id` tells contents apart. */
export interface Stored {
  readonly id: string;
  readonly size: number;
  readonly mtimeSeconds: number;
  /** What an index names. */
  readonly index?: Index;
  /** Of an index or a trace. */
  readonly text?: string;
  /** Of an index or a trace: the generation that it came with. */
  readonly since?: number;
}

export interface Index {
  readonly sha256: string;
  readonly packages: ReadonlyMap<string, Stored>;
}

/** What a generation serves. */
export interface View {
  readonly generation: number;
  readonly indexes: ReadonlyMap<string, Stored>;
  readonly trace: Stored;
}

interface Package {
  readonly version: number;
  /** Two builds of one version are two contents of one name. */
  readonly build: number;
  readonly size: number;
}

/** A lease is younger than so many generations. */
const viewsKept = 60;
const packagesAtFirst = 25;

export class SimPrimary implements Disposable {
  readonly store: Store;
  readonly #forget: Forget;
  readonly #dice: Dice;
  readonly #views = new Map<number, View>();
  /** What each repository holds, by the name of the package. */
  readonly #held = new Map<string, Map<string, Package>>();
  #newest: View | null = null;
  #builds = 0;
  #names = 0;

  constructor(dice: Dice) {
    this.#dice = dice;
    // In memory: no disk need be waited for, and nothing outlives the play.
    const { store, forget } = remembering(storeOn(Database.open(':memory:')));
    this.store = store;
    this.#forget = forget;
  }

  get newest(): View | null {
    return this.#newest;
  }

  readonly lease = (): Lease | null =>
    this.#newest && {
      generation: this.#newest.generation,
      directory: `/${this.#newest.generation}`,
      release: () => {},
    };

  readonly stat = async (path: string): Promise<FileFacts> => {
    const { size, mtimeSeconds } = this.contentOf(dirname(path), basename(path));
    const timeMs = mtimeSeconds * 1000;
    const facts = { ino: 1, dev: 1, mode: 0o644, nlink: 1, size, atimeMs: timeMs, mtimeMs: timeMs };
    return { ...facts, isFile: () => true };
  };

  /** What `path` is in the tree of a lease. */
  contentOf(directory: string, path: string): Stored {
    const view = this.#views.get(Number(directory.slice(1)));
    const index = view?.indexes.get(dirname(path));
    const found =
      path === traceFile ? view?.trace : path.endsWith('.apk') ? index?.index?.packages.get(basename(path)) : index;
    if (!found) throw new Error(`${directory}/${path}: not in this generation`);
    return found;
  }

  /** The next generation: one or two repositories change, now and then one leaves. */
  publish(nowMs: number): View {
    const dice = this.#dice;
    const first = this.#newest === null;
    if (!first && this.#held.size > 2 && dice.chance(0.02))
      return this.#leave(dice.pick([...this.#held.keys()]), nowMs);
    const changing = first ? repositories : dice.shuffled(repositories).slice(0, dice.chance(0.3) ? 2 : 1);
    for (const repository of changing) this.#change(repository);
    return this.#commit(changing, [], nowMs);
  }

  [Symbol.dispose](): void {
    this.store[Symbol.dispose]();
  }

  #leave(repository: string, nowMs: number): View {
    this.#held.delete(repository);
    return this.#commit([], [repository], nowMs);
  }

  #change(repository: string): void {
    const dice = this.#dice;
    const held = this.#held.get(repository) ?? new Map<string, Package>();
    this.#held.set(repository, held);
    const build = (version: number): Package => ({ version, build: ++this.#builds, size: this.#size() });
    if (held.size === 0) {
      for (let n = 0; n < packagesAtFirst; n++) held.set(`p${++this.#names}`, build(1));
      return;
    }
    const names = dice.shuffled([...held.keys()]);
    for (const name of names.slice(0, dice.whole(1, 4))) {
      const { version } = held.get(name) as Package;
      // A rebuild without a new version: other bytes under the same name.
      held.set(name, build(dice.chance(0.05) ? version : version + 1));
    }
    if (dice.chance(0.4)) held.set(`p${++this.#names}`, build(1));
    if (held.size > packagesAtFirst && dice.chance(0.6)) held.delete(names.at(-1) as string);
  }

  #size(): number {
    return Math.round(2 ** this.#dice.between(12, this.#dice.chance(0.02) ? 21 : 18));
  }

  #commit(changing: readonly string[], leaving: readonly string[], nowMs: number): View {
    const { staging, journal, generations } = this.store;
    const number = (this.#newest?.generation ?? 0) + 1;
    const indexes = new Map(this.#newest?.indexes);
    for (const repository of leaving) indexes.delete(repository);
    const candidates: number[] = [];
    const changes = changing.map((repository) => {
      const stored = this.#indexOf(repository, number);
      indexes.set(repository, stored);
      const { sha256, packages } = stored.index as Index;
      const candidate = this.#stage(repository);
      candidates.push(candidate);
      const { base } = toEnd(staging.compare(candidate));
      for (const page of staging.rows(candidate, ['missing'])) {
        for (const { id, entry } of page) {
          const { mtimeSeconds } = packages.get(`${entry.name}-${entry.version}.apk`) as Stored;
          const sha = entry.identity;
          staging.setReady(id, { source: 'x', sha256: sha, mtimeSeconds, packageArch: 'x86_64', signedBy: null });
        }
      }
      const { size, mtimeSeconds } = stored;
      const facts = { description: null, newestBuildTime: null, source: null, builder: 'b', signedBy: 'k' };
      return {
        repository,
        candidate,
        base,
        index: { ...facts, file: indexFile, sha256, size, mtimeSeconds, packages: packages.size },
      } as const;
    });
    const removals = leaving.map((repository) => {
      const base = generations.indexOf(repository, indexFile)?.since as number;
      return { repository, file: indexFile, base } as const;
    });
    const intent = { number, publishedAtMs: nowMs, tree: 'a', batch: 'x', added: 0, removed: 0 };
    const times = { settleMs: null, copyMs: null, verifyMs: null };
    journal.commit(toEnd(journal.begin(intent, changes, { removals, times })), null, nowMs);
    for (const candidate of candidates) toEnd(staging.drop(candidate));
    this.#forget(nowMs);
    const facts = { generation: number, primary: primaryName, publishedAt: toInstant(nowMs) };
    const text = traceContent(facts, generations.indexesAt(number));
    const trace = { id: `trace ${number}`, size: text.length, mtimeSeconds: number, text, since: number };
    const view = { generation: number, indexes, trace };
    this.#views.set(number, view);
    this.#views.delete(number - viewsKept);
    this.#newest = view;
    return view;
  }

  #stage(repository: string): number {
    const { staging } = this.store;
    const candidate = staging.newCandidate('b', repository, indexFile);
    const entries = [...(this.#held.get(repository) ?? [])].map(([name, one]) => ({
      name,
      version: `${one.version}-r0`,
      arch: 'x86_64',
      identity: identityOf(one),
      size: one.size,
      buildTime: null,
    }));
    staging.add(candidate, entries);
    return candidate;
  }

  #indexOf(repository: string, number: number): Stored {
    const packages = new Map<string, Stored>();
    for (const [name, one] of this.#held.get(repository) ?? []) {
      const id = identityOf(one);
      packages.set(`${name}-${one.version}-r0.apk`, { id, size: one.size, mtimeSeconds: one.build });
    }
    const text = `${repository} ${number}`;
    const sha256 = createHash('sha256').update(text).digest('hex');
    return { id: sha256, size: text.length, mtimeSeconds: number, text, since: number, index: { sha256, packages } };
  }
}

function identityOf({ build }: Package): string {
  return String(build).padStart(40, '0');
}

function toEnd<T>(pieces: Generator<unknown, T>): T {
  for (;;) {
    const step = pieces.next();
    if (step.done === true) return step.value;
  }
}
