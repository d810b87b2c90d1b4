/** Makes verified batches the next generation, one at a time, and keeps the trees that hold generations. */
import { chmod, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { IndexFileName } from '../apk/entry.ts';
import { messageOf } from '../errors.ts';
import type { Generation, IndexRow } from '../store/generations.ts';
import type { BatchExtent, RepositoryChange } from '../store/journal.ts';
import type { Store } from '../store/store.ts';
import { type Clock, toInstant } from '../system/clock.ts';
import { makeDirectoryDurable } from '../system/durable.ts';
import { Mutex } from '../system/limit.ts';
import type { Log } from '../system/log.ts';
import { inPieces } from '../system/pieces.ts';
import { removeTree } from '../system/remove-tree.ts';
import type { IndexFacts, Verified } from '../trust/verify.ts';
import { applySteps, makePublicDirectory, setMtimeDurable } from './apply.ts';
import { chooseTree, nextMtimeSeconds, type TreeChoice, type TreeFacts } from './generation.ts';
import { planTree, traceContent, traceFile } from './plan.ts';
import { asideName, pruneTrees, removeStrangeTrees, servedTree } from './trees.ts';

export interface PublisherOptions {
  readonly root: string;
  readonly graceMs: number;
  readonly keepTreesForMs: number;
  readonly maxTrees: number;
  /** `public` may be a plain directory, which the first switch puts aside. */
  readonly takesOver?: boolean;
}

/** What a publish takes: only what `verify` accepted can be put in here. */
export interface VerifiedChange {
  readonly repository: string;
  /** The name of the index in the directory of the repository. */
  readonly indexFile: IndexFileName;
  readonly candidate: number;
  /** The generation since which the repository had the index that the candidate was compared with; null: none. */
  readonly base: number | null;
  readonly index: Verified<IndexFacts>;
  /** Where the private copy of the index lies, relative to the root. */
  readonly indexSource: string;
  /** Whose it is, if not its batch's. */
  readonly builder?: string;
}

export interface VerifiedBatch extends BatchExtent {
  readonly id: string;
  readonly builder: string;
  readonly changes: readonly VerifiedChange[];
}

/** A tree that nobody changes until `release` is called. */
export interface Lease {
  readonly generation: number;
  /** Absolute path. */
  readonly directory: string;
  release(): void;
}

/** The mirrors come first: a spare tree is made when they have had time to be served. */
const spareDelayMs = 2000;

export class Publisher {
  readonly #options: PublisherOptions;
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #mutex = new Mutex();
  readonly #leases = new Map<string, number>();
  /** A tree that is served and unknown to the store, which was lost: left alone until the next start. */
  #strangeTree: string | null = null;
  #spareWork: { readonly stop: AbortController; readonly done: Promise<void> } | null = null;

  constructor(options: PublisherOptions, deps: { readonly store: Store; readonly clock: Clock; readonly log: Log }) {
    this.#options = options;
    this.#store = deps.store;
    this.#clock = deps.clock;
    this.#log = deps.log;
  }

  /**
   * Brings link and store in line after whatever ended the last run, and clears left-over private copies. Call once, before
   * anything else. Throws OperationError LAYOUT when `public` is something that we did not make.
   */
  async recover(): Promise<void> {
    const { root } = this.#options;
    for (const directory of ['ingest', 'quarantine', 'trees']) await makeDirectoryDurable(join(root, directory));
    // Whatever the umask: the first two are nobody's business, the trees are what the web server reads.
    for (const [directory, mode] of [
      ['ingest', 0o700],
      ['quarantine', 0o750],
      ['trees', 0o755],
    ] as const)
      await chmod(join(root, directory), mode);
    const served = await this.#served();
    await this.#settleOpen(served);
    this.#strangeTree = await removeStrangeTrees(root, this.#store.generations.trees(), served);
    if (this.#strangeTree !== null) {
      this.#log.warn('state_lost', { served, hint: 'it is served until the inboxes are published anew' });
    }
    await this.#alignLink();
    for (const name of await readdir(join(root, 'ingest'))) await removeTree(join(root, 'ingest', name));
  }

  /** Name of the tree that is served, null before the first generation. */
  currentTree(): string | null {
    return this.#store.generations.current()?.tree ?? null;
  }

  /** Publishes `batch` as the next generation. When it throws, the served generation is unchanged and nothing is recorded. */
  publish(batch: VerifiedBatch): Promise<Generation> {
    return this.#mutex.run(async () => {
      await this.#stopSpareWork();
      // Left open when not even taking back could be recorded: on a full disk, for instance.
      await this.#settleOpen(await this.#served());
      const nowMs = this.#clock.now();
      const startedAt = this.#clock.monotonic();
      const { journal, generations } = this.#store;
      const current = generations.current();
      const choice = this.#chooseTree(nowMs);
      const changes = await this.#stampIndexes(batch, nowMs);
      generations.setTree(choice.name, choice.generation, null);
      const number = (current?.number ?? 0) + 1;
      const intent = { number, publishedAtMs: nowMs, tree: choice.name, batch: batch.id, added: 0, removed: 0 };
      let generation: Generation;
      try {
        generation = await inPieces(journal.begin(intent, changes, batch));
        await this.#bringUp(generation, choice.generation, current?.tree ?? null);
      } catch (error) {
        const pending = journal.pending();
        if (pending === null || (await this.#served()) !== choice.name) {
          await this.#takeBack(number, choice.name);
          throw error;
        }
        // The link was switched, only to make it durable failed: this generation is out.
        this.#log.error('publish_not_synced', { generation: number, detail: messageOf(error) });
        generation = pending;
      }
      const publishMs = Math.round(this.#clock.monotonic() - startedAt);
      journal.commit(generation, current?.tree ?? null, this.#clock.now(), publishMs);
      this.#startSpareWork();
      return generation;
    });
  }

  /** The tree of the current generation, kept as it is until released; null before the first generation. */
  lease(): Lease | null {
    const current = this.#store.generations.current();
    if (!current) return null;
    const { tree } = current;
    this.#leases.set(tree, (this.#leases.get(tree) ?? 0) + 1);
    let released = false;
    return {
      generation: current.number,
      directory: join(this.#options.root, 'trees', tree),
      release: () => {
        if (released) return;
        released = true;
        const left = (this.#leases.get(tree) ?? 1) - 1;
        if (left > 0) this.#leases.set(tree, left);
        else this.#leases.delete(tree);
      },
    };
  }

  /** Removes from our trees what left the last index longer than the grace period ago. Returns how many files. */
  prune(): Promise<number> {
    return this.#mutex.run(() =>
      pruneTrees(this.#options.root, this.#store.generations, this.#clock.now() - this.#options.graceMs),
    );
  }

  /** Ends background work; the publisher must not be used afterwards. */
  async stop(): Promise<void> {
    await this.#stopSpareWork();
    await this.#mutex.run(async () => {});
  }

  async #bringUp(generation: Generation, from: number, currentTree: string | null): Promise<void> {
    await this.#catchUp(generation.tree, from, generation, currentTree);
    const { root, takesOver = false } = this.#options;
    await applySteps(root, [{ kind: 'switch', tree: generation.tree, ...(takesOver ? { aside: asideName } : {}) }]);
  }

  #served(): Promise<string | null> {
    return servedTree(this.#options.root, this.#options.takesOver);
  }

  async #catchUp(
    tree: string,
    from: number,
    to: Generation,
    currentTree: string | null,
    signal?: AbortSignal,
  ): Promise<void> {
    const { generations } = this.#store;
    const indexes = generations.indexesAt(to.number);
    const steps = planTree({
      tree,
      currentTree,
      packages: generations.packagesForTree(from, to.number),
      indexes: indexes.filter((index) => index.since > from),
      left: from === 0 ? [] : generations.indexesLeft(from, to.number),
      trace: {
        content: traceContent(to.number, toInstant(to.publishedAtMs), indexes),
        mtimeSeconds: nextMtimeSeconds(to.publishedAtMs, await this.#traceMtime(currentTree)),
      },
    });
    await makePublicDirectory(join(this.#options.root, 'trees', tree));
    await applySteps(this.#options.root, steps, signal);
  }

  async #stampIndexes(batch: VerifiedBatch, nowMs: number): Promise<RepositoryChange[]> {
    const changes: RepositoryChange[] = [];
    for (const { repository, indexFile, candidate, base, index, indexSource, builder } of batch.changes) {
      const previous: IndexRow | null = this.#store.generations.indexOf(repository, indexFile);
      const mtimeSeconds = nextMtimeSeconds(nowMs, previous?.mtimeSeconds ?? null);
      await setMtimeDurable(join(this.#options.root, indexSource), mtimeSeconds);
      const { sha256, size, packages, signedBy, signedKey, description, newestBuildTime } = index;
      changes.push({
        repository,
        candidate,
        base,
        index: {
          file: indexFile,
          sha256,
          size,
          mtimeSeconds,
          packages,
          signedBy,
          ...(signedKey === undefined ? {} : { signedKey }),
          description,
          newestBuildTime,
          builder: builder ?? batch.builder,
          source: indexSource,
        },
      });
    }
    return changes;
  }

  /**
   * A generation was begun and not committed. Served already: only the record lacks. Recorded whole: its tree is brought up
   * again from the start. Otherwise, or when that fails, the intent is forgotten.
   */
  async #settleOpen(served: string | null): Promise<void> {
    const { journal, generations } = this.#store;
    const unfinished = journal.unfinished();
    if (unfinished !== null) await inPieces(journal.forget(unfinished));
    const pending = journal.pending();
    if (pending === null) return;
    const current = generations.current()?.tree ?? null;
    try {
      if (served !== pending.tree) {
        const from = generations.trees().find((t) => t.name === pending.tree)?.generation ?? 0;
        await this.#bringUp(pending, from, current);
      }
    } catch (error) {
      await this.#takeBack(pending.number, pending.tree);
      this.#log.warn('publish_recovered', {
        generation: pending.number,
        batch: pending.batch,
        outcome: 'forgotten',
        detail: messageOf(error),
      });
      return;
    }
    journal.commit(pending, current, this.#clock.now());
    this.#log.info('publish_recovered', { generation: pending.number, batch: pending.batch, outcome: 'finished' });
  }

  async #takeBack(number: number, tree: string): Promise<void> {
    await inPieces(this.#store.journal.forget(number));
    await this.#discardTree(tree);
  }

  async #alignLink(): Promise<void> {
    const current = this.#store.generations.current();
    const served = await this.#served();
    if (!current || served === current.tree) return;
    this.#log.warn('public_link_repaired', {
      served: served ?? 'nothing',
      expected: current.tree,
      generation: current.number,
    });
    await applySteps(this.#options.root, [{ kind: 'switch', tree: current.tree }]);
  }

  #chooseTree(nowMs: number): TreeChoice {
    const trees: TreeFacts[] = this.#store.generations.trees().map((t) => ({ ...t, leased: this.#leases.has(t.name) }));
    if (this.#strangeTree !== null)
      trees.push({ name: this.#strangeTree, generation: 0, leftAtMs: null, leased: true });
    return chooseTree(trees, this.currentTree(), {
      nowMs,
      keepTreesForMs: this.#options.keepTreesForMs,
      maxTrees: this.#options.maxTrees,
    });
  }

  /** What a broken-off change left in a tree is not known: the tree starts from nothing when it is used next. */
  async #discardTree(tree: string): Promise<void> {
    if (tree === this.currentTree() || tree === (await this.#served())) return;
    this.#store.generations.setTree(tree, 0, null);
    await removeTree(join(this.#options.root, 'trees', tree));
  }

  /** The second tree costs as much as the whole repository has files; made ahead, no batch pays for it. */
  #startSpareWork(): void {
    const stop = new AbortController();
    this.#spareWork = { stop, done: this.#makeSpare(stop.signal) };
  }

  async #stopSpareWork(): Promise<void> {
    const work = this.#spareWork;
    this.#spareWork = null;
    work?.stop.abort();
    await work?.done;
  }

  async #makeSpare(signal: AbortSignal): Promise<void> {
    try {
      const current = this.#store.generations.current();
      const choice = this.#chooseTree(this.#clock.now());
      const spareIsReady = choice.generation > 0;
      if (!current || spareIsReady || choice.name === current.tree) return;
      await this.#clock.sleep(spareDelayMs, { signal });
      this.#store.generations.setTree(choice.name, 0, null);
      await this.#catchUp(choice.name, 0, current, current.tree, signal);
      this.#store.generations.setTree(choice.name, current.number, null);
    } catch (error) {
      if (!signal.aborted)
        this.#log.warn('spare_tree_failed', {
          detail: messageOf(error),
          hint: 'the next batch makes it, and takes longer',
        });
    }
  }

  async #traceMtime(tree: string | null): Promise<number | null> {
    if (tree === null) return null;
    const facts = await stat(join(this.#options.root, 'trees', tree, traceFile)).catch(() => null);
    return facts ? Math.floor(facts.mtimeMs / 1000) : null;
  }
}
