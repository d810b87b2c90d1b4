/** A publisher with a real store and real files, whose clock stands still and whose uploads need no signature: what is verified is said to be. */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, readlinkSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type IndexEntry, type IndexFileName, packageFileName } from '../../src/apk/entry.ts';
import type { VerifiedBatch, VerifiedChange } from '../../src/publish/ports.ts';
import { Publisher } from '../../src/publish/publisher.ts';
import type { Generation } from '../../src/store/generations.ts';
import type { IndexRemoval } from '../../src/store/journal.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import type { Clock } from '../../src/system/clock.ts';
import { syncFile } from '../../src/system/durable.ts';
import type { Files } from '../../src/system/files.ts';
import { silentLog } from '../../src/system/log.ts';
import { inPieces } from '../../src/system/pieces.ts';
import type { IndexFacts, Verified } from '../../src/trust/verify.ts';

/** Name and version of a package -> its content. */
export type Content = Readonly<Record<string, string>>;

export function entryOf(name: string, version: string, content: string): IndexEntry {
  const identity = createHash('sha1').update(content).digest('hex');
  return { name, version, arch: 'x86_64', identity, size: content.length, buildTime: 1 };
}

export function entriesOf(content: Content): IndexEntry[] {
  return Object.entries(content).map(([key, bytes]) => {
    const [name = '', version = ''] = key.split('@');
    return entryOf(name, version, bytes);
  });
}

export const graceMs = 1000_000;

export class PublishWorld implements Disposable {
  readonly root: string;
  readonly clock: Clock & { nowMs: number };
  store: Store;
  publisher: Publisher;
  readonly #options: { keepTreesForMs: number; maxTrees: number; linksAtStart?: number };
  readonly #state: string;
  readonly #files: Files | undefined;
  /** Mirrors that are fed. */
  mirrors: readonly string[] = [];
  #batches = 0;

  /** With `files` the root lies there, and only the store on the disk. */
  constructor(
    directory: string,
    options: { keepTreesForMs: number; maxTrees: number; linksAtStart?: number } = { keepTreesForMs: 0, maxTrees: 2 },
    files?: Files,
  ) {
    this.root = files === undefined ? join(directory, 'srv') : '/srv';
    this.#files = files;
    this.#state = join(directory, 'state');
    this.#options = options;
    if (files === undefined) mkdirSync(this.root, { recursive: true });
    const clock = { nowMs: 1_700_000_000_000, now: () => clock.nowMs, monotonic: () => 0, sleep: async () => {} };
    this.clock = clock;
    this.store = openStore(this.#state);
    this.publisher = this.#newPublisher();
  }

  get public(): string {
    return join(this.root, 'public');
  }

  get servedTree(): string {
    return readlinkSync(this.public).replace('trees/', '');
  }

  /** A new process: nothing in memory stays. */
  async restart(): Promise<void> {
    await this.publisher.stop();
    this.store[Symbol.dispose]();
    this.store = openStore(this.#state);
    this.publisher = this.#newPublisher();
    await this.publisher.recover();
  }

  /** Compares an index with what is published and puts private copies of what is new under `ingest/`. */
  async stage(
    repository: string,
    content: Content,
    indexFile: IndexFileName = 'APKINDEX.tar.gz',
  ): Promise<VerifiedChange> {
    const { staging } = this.store;
    const candidate = staging.newCandidate('b', repository, indexFile);
    staging.add(candidate, entriesOf(content));
    const { base } = await inPieces(staging.compare(candidate));
    const bytesOf = (file: string): string => {
      const found = Object.entries(content).find(([key]) => `${key.replace('@', '-')}.apk` === file);
      return found?.[1] ?? '';
    };
    for (const page of staging.rows(candidate, ['missing'])) {
      for (const row of page) {
        const source = `ingest/b/${row.id}.apk`;
        const bytes = bytesOf(row.file);
        await this.#put(join(this.root, source), bytes);
        const sha256 = createHash('sha256').update(bytes).digest('hex');
        staging.setReady(row.id, {
          source,
          sha256,
          mtimeSeconds: 1_600_000_000,
          packageArch: 'x86_64',
          signedBy: null,
        });
      }
    }
    const text = JSON.stringify(content);
    const indexSource = `ingest/b/${candidate}.index`;
    await this.#put(join(this.root, indexSource), text);
    const index = {
      sha256: createHash('sha256').update(text).digest('hex'),
      size: text.length,
      signedBy: 'k',
      description: null,
      packages: Object.keys(content).length,
      newestBuildTime: 1,
      mtimeSeconds: 1,
    } as unknown as Verified<IndexFacts>;
    return { repository, indexFile, candidate, base, index, indexSource };
  }

  /** Index contents by repository, as one generation. */
  async publish(repositories: Readonly<Record<string, Content>>): Promise<Generation> {
    const changes: VerifiedChange[] = [];
    for (const [repository, content] of Object.entries(repositories))
      changes.push(await this.stage(repository, content));
    return this.publisher.publish(this.batch(changes));
  }

  batch(changes: readonly VerifiedChange[], removals: readonly IndexRemoval[] = []): VerifiedBatch {
    const { id } = this.store.batches.record({
      key: `key ${this.#batches++}`,
      builder: 'b',
      state: 'waiting',
      updatedAtMs: this.clock.nowMs,
      repositories: changes.map((c) => ({
        path: c.repository,
        index: `${c.repository}/${c.indexFile}`,
        sha256: c.index.sha256,
        base: c.base,
      })),
      reasons: [],
    });
    const times = { settleMs: 1000, copyMs: 20, verifyMs: 3 };
    return { id, builder: 'b', changes, removals, times };
  }

  /** Path -> content of everything in a tree, the served one unless told otherwise. */
  files(tree = this.servedTree): Record<string, string> {
    const base = join(this.root, 'trees', tree);
    const entries = readdirSync(base, { recursive: true, withFileTypes: true }).filter((e) => e.isFile());
    const paths = entries.map((e) => join(e.parentPath, e.name).slice(base.length + 1)).sort();
    return Object.fromEntries(paths.map((path) => [path, readFileSync(join(base, path), 'utf8')]));
  }

  mtime(path: string): number {
    return statSync(join(this.public, path)).mtimeMs / 1000;
  }

  [Symbol.dispose](): void {
    this.store[Symbol.dispose]();
  }

  /** A private copy, as the verifier leaves it. */
  async #put(path: string, bytes: string): Promise<void> {
    if (this.#files === undefined) {
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, bytes);
      utimesSync(path, 1_600_000_000, 1_600_000_000);
      return;
    }
    await this.#files.mkdir(dirname(path), { recursive: true });
    const handle = await this.#files.open(path, 'wx');
    await handle.writeFile(bytes);
    await handle.utimes(1_600_000_000, 1_600_000_000);
    await handle.close();
    await syncFile(path, this.#files);
  }

  #newPublisher(): Publisher {
    const files = this.#files === undefined ? {} : { files: this.#files };
    const deps = { store: this.store, clock: this.clock, log: silentLog, mirrors: () => this.mirrors, ...files };
    const retention = { graceMs, keepForMirrorsMs: 10 * graceMs, keepIndexesBytes: 1_000_000 };
    return new Publisher({ root: this.root, ...retention, ...this.#options }, deps);
  }
}

/** What a tree holds of these repositories, its trace file left out. */
export function expectedFiles(repositories: Readonly<Record<string, Content>>): Record<string, string> {
  const files: Record<string, string> = {};
  for (const [repository, content] of Object.entries(repositories)) {
    files[`${repository}/APKINDEX.tar.gz`] = JSON.stringify(content);
    for (const entry of entriesOf(content)) {
      files[`${repository}/${packageFileName(entry)}`] = content[`${entry.name}@${entry.version}`] ?? '';
    }
  }
  return files;
}
