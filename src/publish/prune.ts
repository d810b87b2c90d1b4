/** Prunes our own trees and kept indexes, and tells beforehand what that would remove and what holds the rest back. */
import type { Store } from '../store/store.ts';
import type { LeftPackage } from '../store/retention.ts';
import type { Files } from '../system/files.ts';
import type { IndexArchive } from './archive.ts';
import { oldestServed, planKeptIndexes, type PruneLimit, pruneLimit } from './retention.ts';
import { dropKeptCopies } from './rollback-copies.ts';
import { removeFromTrees } from './trees.ts';

export interface RetentionOptions {
  readonly graceMs: number;
  /** How long a mirror that is behind keeps a package here at most. */
  readonly keepForMirrorsMs: number;
  /** Space for indexes that were replaced within the grace period. */
  readonly keepIndexesBytes: number;
}

interface RetentionDeps {
  readonly store: Store;
  readonly archive: IndexArchive;
  /** Names of those that we feed. */
  readonly mirrors: readonly string[];
}

interface PruneSum {
  readonly files: number;
  readonly bytes: number;
  /** The first few. */
  readonly first: readonly LeftPackage[];
}

export interface PruneForecast {
  readonly limit: PruneLimit;
  /** What would go now. */
  readonly due: PruneSum;
  /** What is over its grace and stays for a mirror. */
  readonly heldBack: PruneSum;
  /** Kept indexes that would go. */
  readonly indexes: number;
  readonly mirrors: readonly MirrorForecast[];
}

/** What goes from one mirror with its next push, or stays there. */
interface MirrorForecast {
  readonly name: string;
  /** The generation whose indexes it serves; null: not known, the next push compares everything and prunes what nothing needs. */
  readonly serves: number | null;
  /** Over its grace, and in no index that the mirror serves. */
  readonly due: PruneSum;
  /** Over its grace, and stays until a newer index has come there. */
  readonly waits: PruneSum;
  /** How much of what stays on the primary beyond its grace stays for this mirror. */
  readonly keepsHere: { readonly files: number; readonly bytes: number };
}

/** What left until `untilMs` may go now, from what the store knows of `mirrors` (names of those that we feed). */
function limitNow(store: Store, options: RetentionOptions, mirrors: readonly string[], nowMs: number): PruneLimit {
  const views = mirrors.map((name) => {
    const oldest = oldestServed(store.mirrors.get(name));
    return { name, serves: oldest, limitMs: oldest === null ? null : store.generations.pruneLimit(oldest) };
  });
  return pruneLimit({ nowMs, graceMs: options.graceMs, keepForMirrorsMs: options.keepForMirrorsMs, mirrors: views });
}

/** What a prune would do; changes nothing. Names at most `limit` files of each kind. */
export async function forecastPrune(
  deps: RetentionDeps,
  options: RetentionOptions,
  nowMs: number,
  limit: number,
): Promise<PruneForecast> {
  const { store, archive } = deps;
  const at = store.generations.current()?.number ?? 0;
  const prune = limitNow(store, options, deps.mirrors, nowMs);
  const due = sum(store.retention.due(prune.untilMs, at), limit, () => true);
  const heldBack = sum(store.retention.due(prune.graceEndMs, at), limit, (p) => p.removedAtMs > prune.untilMs);
  const wanted = wantedIndexes(store, options, nowMs);
  const indexes = (await archive.list()).filter((sha256) => !wanted.has(sha256)).length;
  const mirrors = deps.mirrors.map((name) => forecastMirror(store, name, prune, limit, at));
  return { limit: prune, due, heldBack, indexes, mirrors };
}

function forecastMirror(
  store: Store,
  name: string,
  { graceEndMs, untilMs }: PruneLimit,
  limit: number,
  newest: number,
): MirrorForecast {
  const { confirmed, serves, observed, prunedUntilMs } = store.mirrors.get(name);
  const none: PruneSum = { files: 0, bytes: 0, first: [] };
  if (serves === null) return { name, serves, due: none, waits: none, keepsHere: none };
  const oldest = Math.min(serves, observed ?? serves);
  const limitMs = store.generations.pruneLimit(oldest) ?? graceEndMs;
  const here = sum(store.retention.due(graceEndMs, newest), 0, (p) => p.removedAtMs > Math.max(untilMs, limitMs));
  const keepsHere = { files: here.files, bytes: here.bytes };
  // As the worker's prune has it: from what the mirror serves, not from what is served here.
  const endMs = Math.min(graceEndMs, store.generations.pruneLimit(confirmed ?? serves) ?? graceEndMs);
  const expiry = { sinceMs: prunedUntilMs, at: confirmed ?? serves };
  const due = sum(store.retention.expiredAt({ ...expiry, untilMs: endMs }), limit, () => true);
  const waits = sum(
    store.retention.expiredAt({ sinceMs: Math.max(endMs, prunedUntilMs), untilMs: graceEndMs, at: newest }, expiry.at),
    limit,
    () => true,
  );
  return { name, serves: oldest, due, waits, keepsHere };
}

/** Removes from every tree what is due, and kept indexes that nothing wants. Returns how many packages went. */
export async function pruneOnce(
  root: string,
  deps: RetentionDeps & { readonly files: Files },
  options: RetentionOptions,
  nowMs: number,
): Promise<number> {
  const { store, archive, files } = deps;
  await dropKeptCopies(root, files, nowMs - options.graceMs);
  await archive.prune(wantedIndexes(store, options, nowMs));
  const at = store.generations.current()?.number;
  const { untilMs } = limitNow(store, options, deps.mirrors, nowMs);
  const earliest = store.generations.earliestUnpruned();
  if (at === undefined || earliest === null || earliest > untilMs) return 0;
  const removed = await removeFromTrees(root, pathsOf(store.retention.due(untilMs, at)), files);
  store.generations.markPruned(untilMs, at);
  return removed;
}

/** As long as the packages of an index may be held, so are its bytes. */
function wantedIndexes(store: Store, options: RetentionOptions, nowMs: number): ReadonlySet<string> {
  const from = store.retention.firstPublishedAfter(nowMs - Math.max(options.graceMs, options.keepForMirrorsMs));
  return planKeptIndexes(store.retention.indexesSince(from), options.keepIndexesBytes);
}

function* pathsOf(pages: Iterable<readonly LeftPackage[]>): Generator<readonly string[]> {
  for (const page of pages) yield page.map((row) => row.path);
}

function sum(pages: Iterable<readonly LeftPackage[]>, limit: number, counts: (row: LeftPackage) => boolean): PruneSum {
  let [files, bytes] = [0, 0];
  const first: LeftPackage[] = [];
  for (const page of pages) {
    for (const row of page.filter(counts)) {
      files++;
      bytes += row.size;
      if (first.length < limit) first.push(row);
    }
  }
  return { files, bytes, first };
}
