/** Brings the packages that an index names out of the inbox: looks for them, and takes private copies that are verified on the way. */
import { link, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { keyringOf } from '../config/key-scope.ts';
import type { InboxConfig } from '../config/schema.ts';
import { errnoOf, messageOf, OperationError } from '../errors.ts';
import type { Reason } from '../store/batches.ts';
import type { StagedRow } from '../store/staging.ts';
import type { Store } from '../store/store.ts';
import type { Clock } from '../system/clock.ts';
import { setMtimeDurable } from '../system/durable.ts';
import { eachLimited } from '../system/limit.ts';
import type { Keyring } from '../trust/keyring.ts';
import type { Verifier } from '../trust/verify.ts';
import type { Inbox, InboxDirectory } from './walk.ts';

export interface CandidateDeps {
  readonly inbox: InboxConfig;
  readonly root: string;
  readonly store: Store;
  readonly verifier: Verifier;
  /** What the candidate is judged by; `keyringOf` makes it fit for a repository and a moment. */
  readonly keyring: Keyring;
  readonly clock: Clock;
  /** Free space that no copy may use up, in bytes. */
  readonly reserveBytes: number;
  readonly signal: AbortSignal;
  /** Told of each package that was looked at or copied. */
  readonly onProgress: () => void;
}

/** The repository whose packages are wanted, and the candidate in the staging table that says which. */
export interface Wanted {
  readonly repository: string;
  readonly candidate: number;
  readonly deps: CandidateDeps;
}

/** Smaller files may lie in the directory itself, or not on the disk yet. */
const sparseFromBytes = 1024 * 1024;
/** A file system may compress a little; packages are compressed already. */
const sparseRatio = 8;
const looksAtOnce = 8;
const copiesAtOnce = 8;

/** Looks for what was missing or refused. True when anything is different from last time. */
export async function lookForPackages(wanted: Wanted, inbox: Inbox): Promise<boolean> {
  const { deps, candidate } = wanted;
  let changed = false;
  await using directory = await inbox.directory(wanted.repository.split('/'));
  for (const page of deps.store.staging.rows(candidate, ['missing', 'failed'])) {
    await eachLimited(page, looksAtOnce, async (row) => {
      deps.signal.throwIfAborted();
      if (await lookAt(wanted, row, directory)) changed = true;
    });
    deps.onProgress();
  }
  return changed;
}

/** Copies everything that is present. What is wrong with a file is then in its row; returns what stops all of them. */
export async function copyPackages(wanted: Wanted, inbox: Inbox): Promise<Reason | null> {
  const { deps, candidate } = wanted;
  let stop: Reason | null = null;
  await using directory = await inbox.directory(wanted.repository.split('/'));
  for (const page of deps.store.staging.rows(candidate, ['present'])) {
    await eachLimited(page, copiesAtOnce, async (row) => {
      deps.signal.throwIfAborted();
      if (stop !== null) return;
      const reason = await copyRow(wanted, row, directory);
      // Another row may have said it meanwhile: one that went well must not take it back.
      stop ??= reason;
      deps.onProgress();
    });
  }
  return stop;
}

/** Where the private copy of a package lies, relative to the root. */
export function copyOf(inbox: InboxConfig, row: StagedRow): string {
  return `ingest/${inbox.builder}/${row.id}.apk`;
}

async function lookAt(wanted: Wanted, row: StagedRow, directory: InboxDirectory | null): Promise<boolean> {
  const { staging } = wanted.deps.store;
  const recalled = recallOf(wanted, row);
  if (recalled !== null) {
    if (row.stat === recalled.detail) return false;
    staging.setFailed(row.id, recalled.detail, recalled);
    return true;
  }
  if (await takeKnown(wanted, row)) return true;
  const seen = directory === null ? ({ kind: 'absent', stat: 'absent' } as const) : await directory.see(row.file);
  const problem = seen.kind === 'file' ? sizeProblem(seen, row) : null;
  // A hole that is filled in changes no time if whoever fills it sets the time back.
  const stat = problem === null ? seen.stat : `${seen.stat} ${problem}`;
  if (stat === row.stat) return false;
  if (seen.kind === 'absent') {
    staging.setState(row.id, 'missing', seen.stat);
    return row.stat !== null;
  }
  if (seen.kind === 'refused') staging.setFailed(row.id, stat, { ...seen, held: false });
  else if (problem === null) staging.setState(row.id, 'present', stat);
  else staging.setState(row.id, 'missing', stat, problem);
  return true;
}

async function copyRow(wanted: Wanted, row: StagedRow, directory: InboxDirectory | null): Promise<Reason | null> {
  const { staging } = wanted.deps.store;
  const recalled = recallOf(wanted, row);
  if (recalled !== null) {
    staging.setFailed(row.id, recalled.detail, recalled);
    return null;
  }
  if (await takeKnown(wanted, row)) return null;
  const opened = directory === null ? ({ kind: 'absent' } as const) : await directory.openFile(row.file);
  if (opened.kind === 'absent') {
    staging.setState(row.id, 'missing', 'absent');
    return null;
  }
  if (opened.kind === 'refused') {
    staging.setFailed(row.id, `${opened.code} ${opened.detail}`, { ...opened, held: false });
    return null;
  }
  await using handle = opened.handle;
  const problem = sizeProblem(opened, row);
  if (problem === null) return await verifyCopy(wanted, row, handle.fd, opened.stat);
  staging.setState(row.id, 'missing', `${opened.stat} ${problem}`, problem);
  return null;
}

/** Bytes that an operator took back do not come again, whoever brings them. */
function recallOf({ deps }: Wanted, { entry }: StagedRow): { code: 'RECALLED'; detail: string; held: false } | null {
  const recall = deps.store.recalls.of(entry.identity, entry.size);
  if (recall === null) return null;
  const why = recall.why === '' ? '' : ` (${recall.why})`;
  return { code: 'RECALLED', detail: `recalled by ${recall.who}${why}: leave it out, or build it anew`, held: false };
}

async function verifyCopy(
  { deps, repository }: Wanted,
  row: StagedRow,
  fd: number,
  stat: string,
): Promise<Reason | null> {
  const { staging } = deps.store;
  const source = copyOf(deps.inbox, row);
  const destination = join(deps.root, source);
  try {
    await rm(destination, { force: true });
    const verdict = await deps.verifier.verifyPackage({
      sourceFd: fd,
      destination,
      entry: row.entry,
      keyring: keyringOf(deps.keyring, repository, deps.clock.now()),
      packageSignatures: deps.inbox.packageSignatures,
      inflate: true,
      signal: deps.signal,
    });
    if (verdict.verdict === 'accepted') {
      const { sha256, arch, signedBy } = verdict.package;
      const place = { repository, file: row.file };
      const mtimeSeconds = deps.store.changes.distinctMtime(place, { ...verdict.package, size: row.entry.size });
      if (mtimeSeconds !== verdict.package.mtimeSeconds) await setMtimeDurable(destination, mtimeSeconds);
      staging.setReady(row.id, { source, sha256, mtimeSeconds, packageArch: arch, signedBy });
    } else {
      staging.setFailed(row.id, stat, { code: verdict.code, detail: verdict.detail, held: verdict.verdict === 'held' });
    }
    return null;
  } catch (error) {
    if (!isDiskFull(error)) throw error;
    return { code: 'DISK', path: `${repository}/${row.file}`, detail: messageOf(error) };
  }
}

/**
 * Bytes with this identity were verified before, under the keys and rules of this inbox: nothing needs to be read again.
 * They get a name of our own, so that nobody can take them away again: another candidate, the reuse of a tree, a prune.
 */
async function takeKnown({ deps, repository }: Wanted, row: StagedRow): Promise<boolean> {
  const { changes, generations, staging } = deps.store;
  const known = staging.known(row.entry, deps.inbox.builder);
  if (!known) return false;
  if (known.packageArch !== 'noarch' && known.packageArch !== row.entry.arch) return false;
  if (deps.inbox.packageSignatures === 'require' && !maySignToday(known.signedBy, repository, deps)) return false;
  // A file of its own can be given another time.
  const bytes = { size: row.entry.size, mtimeSeconds: known.mtimeSeconds, sha256: known.sha256 };
  if (changes.distinctMtime({ repository, file: row.file }, bytes) !== known.mtimeSeconds) return false;
  const source = copyOf(deps.inbox, row);
  const current = generations.current()?.number;
  if (!(await linkFresh(join(deps.root, known.source), join(deps.root, source)))) return false;
  // A tree is left alone while it is the served one; if it was not all the time, its file may be another one by now.
  if (known.published && generations.current()?.number !== current) return false;
  staging.setReady(row.id, { ...known, source });
  return true;
}

/** Whether a package whose signer was noted may do without another look. With a list of algorithms it may not: they were not noted. */
function maySignToday(signedBy: string | null, repository: string, deps: CandidateDeps): boolean {
  if (signedBy === null || deps.keyring.algorithms !== undefined) return false;
  const { keys } = keyringOf(deps.keyring, repository, deps.clock.now());
  return keys.some(({ name, refusal }) => name === signedBy && refusal === undefined);
}

/** False when the file is not there any more or can have no more names. */
async function linkFresh(source: string, path: string): Promise<boolean> {
  try {
    await rm(path, { force: true });
    await link(source, path);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'EMLINK') return false;
    throw error;
  }
}

/** Why the file cannot be what the entry names, as far as that can be told without reading it. */
function sizeProblem(
  { size, onDisk }: { readonly size: number; readonly onDisk: number },
  row: StagedRow,
): string | null {
  if (size !== row.entry.size) return `${size} bytes, expected ${row.entry.size}`;
  if (size < sparseFromBytes || onDisk * sparseRatio >= size) return null;
  return `${size} bytes, of which only ${onDisk} are on the disk: a file with holes`;
}

/** True for every way in which a full disk or quota shows. */
export function isDiskFull(error: unknown): boolean {
  if (error instanceof OperationError) return error.code === 'DISK_FULL';
  return errnoOf(error) === 'ENOSPC' || errnoOf(error) === 'EDQUOT';
}
