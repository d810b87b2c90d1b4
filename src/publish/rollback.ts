/** Prepares a rollback: verifies the kept bytes of old indexes again, finds every package that they name, and makes of it a batch like any other. */
import { constants } from 'node:fs';
import { link, mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { IndexFileName } from '../apk/entry.ts';
import { keyringOf } from '../config/key-scope.ts';
import type { InboxConfig } from '../config/schema.ts';
import { errnoOf, OperationError } from '../errors.ts';
import { type Need, spaceProblem } from '../ingest/space.ts';
import { Inbox } from '../ingest/walk.ts';
import type { IndexRow } from '../store/generations.ts';
import type { StagedRow } from '../store/staging.ts';
import type { Store } from '../store/store.ts';
import type { Clock } from '../system/clock.ts';
import { diskFiles } from '../system/files.ts';
import { inPieces } from '../system/pieces.ts';
import { removeTree } from '../system/remove-tree.ts';
import type { Keyring } from '../trust/keyring.ts';
import type { PackageVerdict, Verifier } from '../trust/verify.ts';
import type { IndexArchive } from './archive.ts';
import type { VerifiedBatch, VerifiedChange } from './ports.ts';
import { copies, copyName, keepCopies, keptCopies } from './rollback-copies.ts';
import { planRollback } from './rollback-plan.ts';

/** The inbox that an index came from, with the keys that may sign for it today. */
export interface RollbackInbox {
  readonly config: InboxConfig;
  readonly keyring: Keyring;
}

export interface RollbackDeps {
  readonly root: string;
  readonly store: Store;
  readonly archive: IndexArchive;
  readonly verifier: Verifier;
  readonly clock: Clock;
  /** Free space that nothing may use up, in bytes. */
  readonly reserveBytes: () => number;
  /** Null when no such builder is configured. */
  readonly inboxOf: (builder: string) => RollbackInbox | null;
}

/** What a rollback does to one index. */
export interface RollbackStep {
  /** Path of the index. */
  readonly path: string;
  /** Digest of the index that is served and of the one that comes back; null: there is none. */
  readonly from: string | null;
  readonly to: string | null;
  /** Packages that come back and that leave. */
  readonly back: number;
  readonly leave: number;
  readonly bytes: number;
}

/** Something that the old generation names and nobody holds, or may bring back. */
export interface Missing {
  readonly path: string;
  readonly why: string;
}

export interface PreparedRollback {
  /** Null when something is missing. Its private copies live until `dispose`. */
  readonly batch: VerifiedBatch | null;
  readonly steps: readonly RollbackStep[];
  readonly missing: readonly Missing[];
  /** All that is missing; `missing` may be cut off. */
  readonly missingCount: number;
  /** `failed`: the publish was begun and nothing came of it; the copies are kept for another try. */
  dispose(outcome: 'published' | 'failed' | 'not begun'): Promise<void>;
}

export interface RollbackOrder {
  readonly id: string;
  readonly target: number;
  readonly repository: string | null;
}

/** Names of what is missing that are told. */
const missingShown = 50;
/** One rollback at a time. Changes nothing that is served. Throws OperationError STATE for a generation that is on no record, or is served now, DISK_FULL where the reserve would be touched. */
export async function prepareRollback(order: RollbackOrder, deps: RollbackDeps): Promise<PreparedRollback> {
  const { generations } = deps.store;
  const current = generations.current()?.number ?? 0;
  if (order.target >= current)
    throw new OperationError('STATE', `generation ${order.target}: expected one before the present one, ${current}`);
  if (!generations.isOnRecord(order.target))
    throw new OperationError(
      'STATE',
      `generation ${order.target}: is on no record, so nobody knows what it served: lockstepd history lists those that are`,
    );
  await removeTree(join(deps.root, copies));
  await mkdir(join(deps.root, copies), { recursive: true, mode: 0o700 });
  const preparation = new Preparation(order, deps);
  const dispose: PreparedRollback['dispose'] = async (outcome) => {
    await preparation.drop();
    if (outcome === 'failed') await keepCopies(deps.root, diskFiles);
    await removeTree(join(deps.root, copies));
    if (outcome === 'published') await removeTree(join(deps.root, keptCopies));
  };
  try {
    const plan = planRollback(generations.indexesAt(order.target), generations.indexesAt(current), order.repository);
    for (const { index, now } of plan.back) await preparation.bringBack(index, now);
    for (const row of plan.leave) preparation.leave(row);
    await preparation.requireSpace();
    return { ...preparation.result(current), dispose };
  } catch (error) {
    await dispose('not begun');
    throw error;
  }
}

class Preparation {
  readonly #order: RollbackOrder;
  readonly #deps: RollbackDeps;
  readonly #changes: VerifiedChange[] = [];
  readonly #candidates: number[] = [];
  readonly #steps: RollbackStep[] = [];
  readonly #removals: { repository: string; file: IndexFileName; base: number }[] = [];
  readonly #missing: Missing[] = [];
  #missingCount = 0;

  constructor(order: RollbackOrder, deps: RollbackDeps) {
    this.#order = order;
    this.#deps = deps;
  }

  result(current: number): Omit<PreparedRollback, 'dispose'> {
    const batch: VerifiedBatch = {
      id: this.#order.id,
      builder: 'rollback',
      changes: this.#changes,
      removals: this.#removals,
      times: { settleMs: null, copyMs: null, verifyMs: null },
      follows: current,
    };
    return {
      batch: this.#missingCount === 0 ? batch : null,
      steps: this.#steps,
      missing: this.#missing,
      missingCount: this.#missingCount,
    };
  }

  leave(row: IndexRow): void {
    const { repository, file, since, sha256, packages } = row;
    this.#removals.push({ repository, file, base: since });
    this.#steps.push({ path: pathOf(row), from: sha256, to: null, back: 0, leave: packages, bytes: 0 });
  }

  async bringBack(index: IndexRow, now: IndexRow | null): Promise<void> {
    const { archive, inboxOf, root, store } = this.#deps;
    const { repository, file, sha256, builder } = index;
    const inbox = inboxOf(builder);
    if (inbox === null) {
      this.#miss(pathOf(index), `its builder ${builder} has no inbox any more, so there are no keys for it`);
      return;
    }
    const candidate = store.staging.newCandidate(builder, repository, file);
    this.#candidates.push(candidate);
    const indexSource = `${copies}/${candidate}.index`;
    await this.#require({ bytes: index.size, files: 1 });
    const kept = await openIfThere(join(root, archive.path(sha256)));
    if (kept === null) {
      this.#miss(pathOf(index), 'the index itself is not kept any more (publish.keep_indexes)');
      return;
    }
    await using handle = kept;
    const verdict = await this.#deps.verifier.verifyIndex({
      sourceFd: handle.fd,
      destination: join(root, indexSource),
      arch: null,
      fileName: file,
      keyring: keyringOf(inbox.keyring, repository, this.#deps.clock.now()),
      acceptEmpty: true,
      ignoreLinks: true,
      onEntries: (entries) => store.staging.add(candidate, entries),
    });
    if (verdict.verdict !== 'accepted' || verdict.index.sha256 !== sha256) {
      const why = verdict.verdict === 'accepted' ? 'the kept copy is not what was published' : verdict.detail;
      this.#miss(pathOf(index), `the old index does not verify any more: ${why}`);
      return;
    }
    const { base } = await inPieces(store.staging.compare(candidate));
    await this.#findPackages(index, candidate, inbox);
    this.#changes.push({
      repository,
      indexFile: file,
      candidate,
      base,
      index: verdict.index,
      indexSource,
      builder,
    });
    const { back, leave, bytes } = store.rollbacks.extent(candidate);
    this.#steps.push({ path: pathOf(index), from: now?.sha256 ?? null, to: sha256, back, leave, bytes });
  }

  /** The generation's tree: a name for each package that comes back, in two trees. */
  async requireSpace(): Promise<void> {
    await this.#require({ bytes: 0, files: 2 * this.#steps.reduce((sum, { back }) => sum + back, 0) });
  }

  async #require(need: Need): Promise<void> {
    const problem = await spaceProblem(this.#deps.root, need, this.#deps.reserveBytes());
    if (problem !== null) throw new OperationError('DISK_FULL', `rollback: ${problem}; nothing was changed`);
  }

  /** Forgets what was staged. */
  async drop(): Promise<void> {
    for (const candidate of this.#candidates.splice(0)) await inPieces(this.#deps.store.staging.drop(candidate));
  }

  async #findPackages(index: IndexRow, candidate: number, inbox: RollbackInbox): Promise<void> {
    const { rollbacks, recalls, staging } = this.#deps.store;
    for (const page of staging.rows(candidate, ['missing'])) {
      for (const row of page) {
        const recall = recalls.of(row.entry.identity, row.entry.size);
        const path = `${index.repository}/${row.file}`;
        if (recall) this.#miss(path, `recalled by ${recall.who}${recall.why === '' ? '' : `: ${recall.why}`}`);
        else if (await this.#findPackage(index, row, inbox)) continue;
        else if (rollbacks.wasMissing(index.repository, index.file, row.file, this.#order.target)) continue;
        else this.#miss(path, 'pruned: neither in a tree nor in the inbox');
      }
    }
  }

  /** Takes a verified private name or copy of the package from wherever it still lies. */
  async #findPackage(index: IndexRow, row: StagedRow, inbox: RollbackInbox): Promise<boolean> {
    const { root, store } = this.#deps;
    const name = copyName(index, row.file, row.entry.identity);
    const source = `${copies}/${name}`;
    const inTrees = store.generations.trees().map((tree) => `trees/${tree.name}/${index.repository}/${row.file}`);
    for (const path of [...inTrees, `${keptCopies}/${name}`]) {
      if (!(await linkIfThere(join(root, path), join(root, source)))) continue;
      await using handle = await open(join(root, source), constants.O_RDONLY | constants.O_NOFOLLOW);
      if (this.#take(row, source, await this.#verify(handle.fd, row, index, inbox))) return true;
      await rm(join(root, source), { force: true });
    }
    return this.#fromInbox(index, row, inbox, source);
  }

  async #fromInbox(index: IndexRow, row: StagedRow, inbox: RollbackInbox, source: string): Promise<boolean> {
    await using opened = await Inbox.open(inbox.config.path);
    await using directory = (await opened?.directory(index.repository.split('/'))) ?? null;
    const file = (await directory?.openFile(row.file)) ?? { kind: 'absent' as const };
    if (file.kind !== 'file') return false;
    await using handle = file.handle;
    if (file.size !== row.entry.size) return false;
    await this.#require({ bytes: file.size, files: 1 });
    const destination = join(this.#deps.root, source);
    const taken = this.#take(row, source, await this.#verify(handle.fd, row, index, inbox, destination));
    if (!taken) await rm(destination, { force: true });
    return taken;
  }

  #verify(
    sourceFd: number,
    row: StagedRow,
    index: IndexRow,
    { config, keyring }: RollbackInbox,
    destination?: string,
  ): Promise<PackageVerdict> {
    return this.#deps.verifier.verifyPackage({
      sourceFd,
      ...(destination === undefined ? {} : { destination }),
      entry: row.entry,
      keyring: keyringOf(keyring, index.repository, this.#deps.clock.now()),
      packageSignatures: config.packageSignatures,
      ignoreLinks: destination === undefined,
      inflate: destination !== undefined,
    });
  }

  #take(row: StagedRow, source: string, verdict: PackageVerdict): boolean {
    if (verdict.verdict !== 'accepted') return false;
    const { sha256, mtimeSeconds, arch, signedBy } = verdict.package;
    this.#deps.store.staging.setReady(row.id, { source, sha256, mtimeSeconds, packageArch: arch, signedBy });
    return true;
  }

  #miss(path: string, why: string): void {
    this.#missingCount++;
    if (this.#missing.length < missingShown) this.#missing.push({ path, why });
  }
}

function pathOf({ repository, file }: IndexRow): string {
  return `${repository}/${file}`;
}

async function openIfThere(path: string): Promise<Awaited<ReturnType<typeof open>> | null> {
  try {
    return await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null;
    throw error;
  }
}

async function linkIfThere(source: string, path: string): Promise<boolean> {
  try {
    await link(source, path);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}
