/**
 * Brings the store in line with trees that are newer than it: after state.db was lost or damaged, after a backup was put back.
 * The served tree and its trace tell; it is recorded as one generation. Changes nothing that is served.
 */
import { constants } from 'node:fs';
import { lstat, open } from 'node:fs/promises';
import { join } from 'node:path';
import { type IndexEntry, packageFileName } from '../apk/entry.ts';
import { keyringOf } from '../config/key-scope.ts';
import type { Config } from '../config/schema.ts';
import { messageOf } from '../errors.ts';
import {
  findServedIndexes,
  highestTrace,
  ownerOf,
  readTrace,
  type ServedIndex,
  splitFileName,
} from '../publish/survey.ts';
import { servedTree } from '../publish/trees.ts';
import { isOursToRemove } from '../replicate/plan.ts';
import type { RepositoryChange } from '../store/journal.ts';
import type { Store } from '../store/store.ts';
import type { Clock } from '../system/clock.ts';
import { toInstant } from '../system/instant.ts';
import { keptDigests } from '../publish/archive.ts';
import { indexRecord } from '../publish/stamp.ts';
import { hashFile } from '../system/read-paced.ts';
import { eachLimited } from '../system/limit.ts';
import type { Log } from '../system/log.ts';
import { inPieces } from '../system/pieces.ts';
import type { Keyring } from '../trust/keyring.ts';
import type { IndexFacts, Verifier } from '../trust/verify.ts';
import { lstatIfThere, packagesIn } from './rebuild-files.ts';

export interface RebuildDeps {
  readonly config: Pick<Config, 'root' | 'inboxes'>;
  readonly store: Store;
  readonly verifier: Verifier;
  readonly keyring: (builder: string) => Keyring;
  readonly clock: Clock;
  readonly log: Log;
  /** Told of each page of packages that was looked at. */
  readonly onProgress?: () => void;
}

/** Begins the name of what stands for the batch of such a generation. */
const rebuiltPrefix = 'rebuilt-';
const looksAtOnce = 8;

/** A repository of the tree, staged. */
interface Staged {
  readonly change: RepositoryChange;
  readonly missing: number;
  readonly verified: boolean;
}

/**
 * Call before Publisher.recover. Returns the generation that was recorded from the trees; null when the store knows what is
 * served. May be killed and called again.
 */
export async function rebuildFromTrees(deps: RebuildDeps): Promise<number | null> {
  const { store, log, clock, config } = deps;
  const tree = await servedTree(config.root);
  if (tree === null) return null;
  const directory = join(config.root, 'trees', tree);
  if (!(await isDirectory(directory))) return null;
  await forgetRebuild(store);
  const trace = await readTrace(directory);
  const recorded = Math.max(store.generations.current()?.number ?? 0, store.journal.pending()?.number ?? 0);
  const served = trace?.generation ?? 0;
  if (recorded > 0 && served <= recorded) return null;

  const number = trace === null ? (await highestTrace(config.root)) + 1 : served;
  log.warn('state_behind', { recorded, served: number, tree, trace: trace === null ? 'unreadable' : 'read' });
  // What was about to be published when the store was copied is long over.
  for (const begun of [store.journal.unfinished(), store.journal.pending()?.number ?? null])
    if (begun !== null) await inPieces(store.journal.forget(begun));
  store.takeover.doubtEverything();

  const found = await findServedIndexes(directory);
  const staged: Staged[] = [];
  for (const index of found) staged.push(await stage(deps, directory, index));
  const changes = staged.map(({ change }) => change);
  const nowMs = clock.now();
  const intent = {
    number,
    publishedAtMs: trace?.publishedAtMs ?? nowMs,
    tree,
    batch: `${rebuiltPrefix}${toInstant(nowMs)}`,
    added: 0,
    removed: 0,
  };
  const removals = store.generations
    .indexesAt(recorded)
    .filter((old) => !found.some((now) => now.repository === old.repository && now.file === old.file))
    .map(({ repository, file, since }) => ({ repository, file, base: since }));
  const times = { settleMs: null, copyMs: null, verifyMs: null };
  const generation = await inPieces(store.journal.begin(intent, changes, { removals, times }));
  const inGrace = await recordLeft(deps, directory, found, number, nowMs);
  // Before the commit: once that is recorded nobody comes here again.
  const publishedBefore = store.takeover.addPublishedBefore(await keptDigests(config.root));
  store.journal.commit(generation, null, nowMs);
  for (const { candidate } of changes) await inPieces(store.staging.drop(candidate));
  log.warn('state_rebuilt', {
    generation: number,
    tree,
    repositories: new Set(found.map(({ repository }) => repository)).size,
    packages: changes.reduce((sum, { index }) => sum + index.packages, 0),
    missing: staged.reduce((sum, { missing }) => sum + missing, 0),
    unverified: staged.filter(({ verified }) => !verified).length,
    in_grace: inGrace,
    published_before: publishedBefore,
    lost: `${recorded === 0 ? 'all generations' : `the generations ${recorded + 1} to ${number - 1}`} with their times and batches, operators' decisions (what was rejected may be held again), digests of indexes that are not kept any more (a replay of one is only known by its age), what mirrors hold (each is compared once)`,
    next: 'packages are hashed again in the background',
  });
  return number;
}

/** A rebuild that was broken off starts over. */
async function forgetRebuild({ journal }: Store): Promise<void> {
  const pending = journal.pending();
  if (pending?.batch.startsWith(rebuiltPrefix) === true) await inPieces(journal.forget(pending.number));
}

async function stage(deps: RebuildDeps, directory: string, place: ServedIndex): Promise<Staged> {
  const { store, log } = deps;
  const { repository, file } = place;
  const builder = ownerOf(deps.config.inboxes, place)?.inbox.builder ?? 'unknown';
  const candidate = store.staging.newCandidate(builder, repository, file);
  const path = join(directory, repository, file);
  const { size, mtimeMs } = await lstat(path);
  const mtimeSeconds = Math.floor(mtimeMs / 1000);
  const verdict = await verifyServed(deps, path, place, candidate);
  let facts: Omit<IndexFacts, 'mtimeSeconds'>;
  let staging = candidate;
  if ('index' in verdict) facts = verdict.index;
  else {
    log.error('state_index_unverified', {
      repository,
      index: file,
      code: verdict.code,
      detail: verdict.detail,
      hint: 'it is still served, with every package beside it: publish an index by a trusted key',
    });
    // What it may have named before it was refused is not to be believed: the files that lie there are what is served.
    await inPieces(store.staging.drop(candidate));
    staging = store.staging.newCandidate(builder, repository, file);
    const packages = await stageFiles(deps, join(directory, repository), staging);
    facts = {
      sha256: (await hashFile(path)).sha256,
      size,
      packages,
      signedBy: 'unknown',
      description: null,
      newestBuildTime: null,
    };
  }
  const { base } = await inPieces(store.staging.compare(staging));
  const missing = await takeFound(deps, join(directory, repository), staging);
  if (missing > 0) log.warn('state_packages_missing', { repository, index: file, packages: missing });
  const own = { file, mtimeSeconds, builder, source: null };
  return {
    missing,
    verified: 'index' in verdict,
    change: { repository, candidate: staging, base, index: indexRecord({ ...facts, size }, own) },
  };
}

type ServedVerdict = { readonly index: IndexFacts } | { readonly code: string; readonly detail: string };

/** Verifies an index with the keys of today; its entries go into the staging table. */
async function verifyServed(
  { config, store, verifier, keyring, clock, onProgress }: RebuildDeps,
  path: string,
  place: ServedIndex,
  candidate: number,
): Promise<ServedVerdict> {
  const owner = ownerOf(config.inboxes, place);
  if (owner === null) return { code: 'OUT_OF_SCOPE', detail: 'no inbox of the configuration may hold this repository' };
  try {
    await using handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    const verdict = await verifier.verifyIndex({
      sourceFd: handle.fd,
      arch: owner.arch,
      fileName: place.file,
      keyring: keyringOf(keyring(owner.inbox.builder), place.repository, clock.now()),
      acceptEmpty: true,
      ignoreLinks: true,
      onEntries: (entries) => {
        store.staging.add(candidate, entries);
        onProgress?.();
      },
    });
    return verdict.verdict === 'accepted' ? verdict : { code: verdict.code, detail: verdict.detail };
  } catch (error) {
    return { code: 'UNREADABLE', detail: messageOf(error) };
  }
}

/** Stages every package file of a directory without an identity: no index will ever find that it is unchanged. */
async function stageFiles({ store }: RebuildDeps, directory: string, candidate: number): Promise<number> {
  let packages = 0;
  for await (const page of packagesIn(directory)) {
    const entries = page.map(({ file, size }): IndexEntry => {
      return { ...splitFileName(file), arch: '', identity: '', size, buildTime: null, file };
    });
    store.staging.add(candidate, entries);
    packages += entries.length;
  }
  return packages;
}

/** Marks the rows whose file lies in `directory` with the right size; returns how many do not. */
async function takeFound({ store, onProgress }: RebuildDeps, directory: string, candidate: number): Promise<number> {
  let missing = 0;
  for (const page of store.staging.rows(candidate, ['missing'])) {
    const found: { id: number; mtimeSeconds: number }[] = [];
    await eachLimited(page, looksAtOnce, async ({ id, entry }) => {
      const facts = await lstatIfThere(join(directory, packageFileName(entry)));
      if (facts?.isFile() === true && facts.size === entry.size)
        found.push({ id, mtimeSeconds: Math.floor(facts.mtimeMs / 1000) });
      else missing++;
    });
    store.takeover.setFound(found);
    onProgress?.();
  }
  return missing;
}

/** Packages of older indexes, which stay for the grace period: it begins anew, because nobody knows when they left. */
async function recordLeft(
  { store, log }: RebuildDeps,
  directory: string,
  indexes: readonly ServedIndex[],
  number: number,
  nowMs: number,
): Promise<number> {
  let left = 0;
  for (const [repository, indexFile] of new Map(indexes.map((index) => [index.repository, index.file]))) {
    for await (const page of packagesIn(join(directory, repository))) {
      const unknown = page.filter(({ file }) => isOursToRemove(file) && !store.takeover.knows(repository, file));
      store.takeover.addLeft(
        unknown.map((one) => ({ repository, indexFile, ...splitFileName(one.file), ...one })),
        number,
        nowMs,
      );
      left += unknown.length;
    }
  }
  if (left > 0) log.info('state_packages_in_grace', { packages: left });
  return left;
}

async function isDirectory(path: string): Promise<boolean> {
  return (await lstatIfThere(path))?.isDirectory() === true;
}
