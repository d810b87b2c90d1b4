/** Makes verified batches the next generation, one at a time, and keeps the trees that hold generations. */
import { hostname } from 'node:os';
import { join } from 'node:path';
import { errnoOf, messageOf, OperationError } from '../errors.ts';
import type { Generation } from '../store/generations.ts';
import type { Store } from '../store/store.ts';
import { traceFile } from '../store/trace.ts';
import { type Clock, toInstant } from '../system/clock.ts';
import { makeDirectoryDurable } from '../system/durable.ts';
import { diskFiles, type Files } from '../system/files.ts';
import { Mutex } from '../system/limit.ts';
import type { Log } from '../system/log.ts';
import { inPieces } from '../system/pieces.ts';
import { applySteps, makePublicDirectory } from './apply.ts';
import { IndexArchive } from './archive.ts';
import { clearIngest, discard, removeDiscarded, servedPackages } from './discard.ts';
import { chooseTree, nextMtimeSeconds, type TreeChoice, type TreeFacts } from './generation.ts';
import { planTree, traceContent } from './plan.ts';
import { Leases } from './leases.ts';
import type { Lease, PublisherOptions, VerifiedBatch } from './ports.ts';
import { forecastPrune, type PruneForecast, pruneOnce } from './prune.ts';
import { recallFromTrees } from './recall.ts';
import { keepCopies } from './rollback-copies.ts';
import { requireValid, stampIndexes } from './stamp.ts';
import { asideName, removeStrangeTrees, servedTree } from './trees.ts';

/** A start links at most so many files before it serves: well under a second. More of them are linked when the batch comes again. */
const linksAtStart = 10_000;
/** The mirrors come first: a spare tree is made when they have had time to be served. */
const spareDelayMs = 2000;

export class Publisher {
  readonly #options: PublisherOptions;
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #files: Files;
  readonly #mirrors: () => readonly string[];
  readonly #mutex = new Mutex();
  /** The bytes of published indexes. */
  readonly archive: IndexArchive;
  readonly #leases = new Leases();
  #spareWork: { readonly stop: AbortController; readonly done: Promise<void> } | null = null;

  /** `mirrors`: names of those that we feed. */
  constructor(
    options: PublisherOptions,
    deps: {
      readonly store: Store;
      readonly clock: Clock;
      readonly log: Log;
      readonly mirrors?: () => readonly string[];
      readonly files?: Files;
    },
  ) {
    this.#options = options;
    this.#store = deps.store;
    this.#clock = deps.clock;
    this.#log = deps.log;
    this.#files = deps.files ?? diskFiles;
    this.#mirrors = deps.mirrors ?? (() => []);
    this.archive = new IndexArchive(options.root, this.#files);
  }

  /**
   * Brings link and store in line after whatever ended the last run, and clears left-over private copies. Call once, before
   * anything else, and after a lost state was rebuilt. Throws OperationError LAYOUT when `public` is something that we did not
   * make, STATE when what is served is on no record.
   */
  async recover(): Promise<void> {
    const { root } = this.#options;
    for (const directory of ['ingest', 'quarantine', 'trees'])
      await makeDirectoryDurable(join(root, directory), undefined, this.#files);
    // Whatever the umask: the first two are nobody's business, the trees are what the web server reads.
    for (const [directory, mode] of [
      ['ingest', 0o700],
      ['quarantine', 0o750],
      ['trees', 0o755],
    ] as const)
      await this.#files.chmod(join(root, directory), mode);
    await this.archive.open();
    const served = await this.#served();
    if (await this.#settleOpen(served)) await keepCopies(root, this.#files);
    const known = this.#store.generations.trees();
    const there = await this.#files.readdir(join(root, 'trees'));
    if (served !== null && known.length === 0 && there.includes(served))
      throw new OperationError('STATE', `trees/${served} is served and not on record: rebuild the state first`);
    await this.#alignLink();
    await removeStrangeTrees(root, known, await this.#served(), this.#files);
    await this.archive.keepServed(this.#store.generations);
    await recallFromTrees(root, this.#store.recalls, this.#files);
    await clearIngest(root, this.#files);
  }

  /** Removes the trees that were given up: takes long, and nobody waits for it. */
  removeDiscarded(): Promise<void> {
    return removeDiscarded(this.#options.root, this.#files);
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
      requireValid(this.#store, batch, current?.number ?? 0);
      const choice = this.#chooseTree(nowMs);
      const changes = await stampIndexes(this.#options.root, generations, batch, nowMs, this.#files);
      await this.archive.keep(changes.map(({ index }) => ({ sha256: index.sha256, source: index.source ?? '' })));
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
    return {
      generation: current.number,
      directory: join(this.#options.root, 'trees', tree),
      release: this.#leases.take(tree),
    };
  }

  /** Removes from our trees what nothing needs any more, on our disk or on a mirror that is behind. Returns how many files. */
  prune(): Promise<number> {
    return this.#mutex.run(() => pruneOnce(this.#options.root, this.#retention, this.#options, this.#clock.now()));
  }

  /** What `prune` would do now; names at most `limit` files. */
  forecastPrune(limit: number): Promise<PruneForecast> {
    return this.#mutex.run(() => forecastPrune(this.#retention, this.#options, this.#clock.now(), limit));
  }

  /** Takes what the store knows as recalled out of every tree, at once. Returns how many paths. */
  recall(): Promise<number> {
    return this.#mutex.run(async () => {
      // It links from one tree into another.
      await this.#stopSpareWork();
      const removed = await recallFromTrees(this.#options.root, this.#store.recalls, this.#files);
      this.#startSpareWork();
      return removed;
    });
  }

  /** Runs `work` while nothing else changes trees or link. */
  exclusively<T>(work: () => Promise<T>): Promise<T> {
    return this.#mutex.run(async () => {
      await this.#stopSpareWork();
      try {
        return await work();
      } finally {
        this.#startSpareWork();
      }
    });
  }

  /** Ends background work; the publisher must not be used afterwards. */
  async stop(): Promise<void> {
    await this.#stopSpareWork();
    await this.#mutex.run(async () => {});
  }

  get #retention(): { store: Store; archive: IndexArchive; mirrors: readonly string[]; files: Files } {
    return { store: this.#store, archive: this.archive, mirrors: this.#mirrors(), files: this.#files };
  }

  async #bringUp(generation: Generation, from: number, currentTree: string | null): Promise<void> {
    await this.#catchUp(generation.tree, from, generation, currentTree);
    const { root, takesOver = false } = this.#options;
    const aside = takesOver ? { aside: asideName } : {};
    await applySteps(root, [{ kind: 'switch', tree: generation.tree, ...aside }], undefined, this.#files);
  }

  #served(): Promise<string | null> {
    return servedTree(this.#options.root, this.#files, this.#options.takesOver);
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
    const withheld = this.#store.damage.withheld();
    const steps = planTree({
      tree,
      currentTree,
      packages: generations.packagesForTree(from, to.number),
      indexes: indexes.filter((index) => index.since > from && !withheld.has(`${index.repository}/${index.file}`)),
      left: from === 0 ? [] : generations.indexesLeft(from, to.number),
      trace: {
        content: traceContent(
          {
            generation: to.number,
            primary: this.#options.primary ?? hostname(),
            publishedAt: toInstant(to.publishedAtMs),
          },
          indexes,
        ),
        mtimeSeconds: nextMtimeSeconds(to.publishedAtMs, await this.#traceMtime(currentTree)),
      },
    });
    await makePublicDirectory(join(this.#options.root, 'trees', tree), this.#files);
    await applySteps(this.#options.root, steps, signal, this.#files);
  }

  /**
   * A generation was begun and not committed. Served already: only the record lacks. Recorded whole: its tree is brought up
   * again from the start. Otherwise, when that fails, or when it would take as long as a whole tree, the intent is forgotten: true.
   */
  async #settleOpen(served: string | null): Promise<boolean> {
    const { journal, generations } = this.#store;
    const unfinished = journal.unfinished();
    if (unfinished !== null) await inPieces(journal.forget(unfinished));
    const pending = journal.pending();
    if (pending === null) return false;
    const current = generations.current()?.tree ?? null;
    try {
      if (served !== pending.tree) {
        const from = generations.trees().find((t) => t.name === pending.tree)?.generation ?? 0;
        if (from === 0 && servedPackages(generations) > (this.#options.linksAtStart ?? linksAtStart)) {
          await discard(this.#options.root, pending.tree, this.#files);
          throw new Error('its tree has to be made from nothing: after the start the upload is published anew');
        }
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
      return true;
    }
    journal.commit(pending, current, this.#clock.now());
    this.#log.info('publish_recovered', { generation: pending.number, batch: pending.batch, outcome: 'finished' });
    return false;
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
    await applySteps(this.#options.root, [{ kind: 'switch', tree: current.tree }], undefined, this.#files);
  }

  #chooseTree(nowMs: number): TreeChoice {
    const trees: TreeFacts[] = this.#store.generations.trees().map((t) => ({ ...t, leased: this.#leases.has(t.name) }));
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
    await this.#files.removeTree(join(this.#options.root, 'trees', tree));
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
      // What fails while it is broken off is told too.
      if (error !== signal.reason)
        this.#log.warn('spare_tree_failed', {
          detail: messageOf(error),
          hint: 'the next batch makes it, and takes longer',
        });
    }
  }

  async #traceMtime(tree: string | null): Promise<number | null> {
    if (tree === null) return null;
    try {
      const { mtimeMs } = await this.#files.stat(join(this.#options.root, 'trees', tree, traceFile));
      return Math.floor(mtimeMs / 1000);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
      return null;
    }
  }
}
