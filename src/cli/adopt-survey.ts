/** Verifies a plain directory for `adopt`, repository by repository, and takes private names or copies of what is right. Changes nothing in it. */
import { constants } from 'node:fs';
import { link, mkdir, open, realpath, rm, stat } from 'node:fs/promises';
import { join, posix, sep } from 'node:path';
import { isIndexFileName, packageFileName } from '../apk/entry.ts';
import { keyringOf } from '../config/key-scope.ts';
import type { Config, InboxConfig } from '../config/schema.ts';
import { errnoOf, type VerificationCode } from '../errors.ts';
import type { Progress } from '../observe/progress.ts';
import type { VerifiedChange } from '../publish/ports.ts';
import { traceFile } from '../store/trace.ts';
import { findServedIndexes, ownerOf, type ServedIndex, walkFiles } from '../publish/survey.ts';
import type { StagedRow } from '../store/staging.ts';
import type { Store } from '../store/store.ts';
import { systemClock } from '../system/clock.ts';
import { eachLimited } from '../system/limit.ts';
import { inPieces } from '../system/pieces.ts';
import type { Keyring } from '../trust/keyring.ts';
import type { PackageVerdict, Verifier } from '../trust/verify.ts';

interface Finding {
  readonly kind: 'gap' | 'mismatch' | 'refused' | 'stranger';
  /** Relative to the directory. */
  readonly path: string;
  readonly detail: string;
}

export interface SurveyDeps {
  readonly config: Pick<Config, 'inboxes'>;
  readonly keyrings: ReadonlyMap<string, Keyring>;
  readonly verifier: Verifier;
  readonly store: Store;
  readonly directory: string;
  /** The root below whose `ingest/` names and copies are made; null: none are. */
  readonly copies: string | null;
  readonly tell: (finding: Finding) => void;
  /** Told now and then how far it is. */
  readonly onProgress?: (progress: Progress) => void;
  readonly signal: AbortSignal;
}

export interface Adoption {
  readonly changes: readonly VerifiedChange[];
  readonly packages: number;
  readonly bytes: number;
  readonly linked: number;
  /** `held`: those in inboxes that hold what is incomplete. */
  readonly gaps: { readonly total: number; readonly held: number };
  readonly mismatches: number;
  readonly refused: number;
  readonly strangers: number;
}

interface Survey {
  readonly deps: SurveyDeps;
  /** Without symbolic links. */
  readonly top: string;
  readonly changes: VerifiedChange[];
  /** Candidates by repository. */
  readonly candidates: Map<string, number[]>;
  readonly counts: Record<
    'packages' | 'bytes' | 'linked' | 'gaps' | 'held' | 'mismatches' | 'refused' | 'strangers',
    number
  >;
}

/** Names and copies lie here, below the root. */
const place = 'ingest/adopt';
const looksAtOnce = 8;

/** Verifies everything below the directory and tells every finding as it is made. Rows and copies wait in the staging table. */
export async function surveyDirectory(deps: SurveyDeps): Promise<Adoption> {
  const top = await realpath(deps.directory);
  const counts = { packages: 0, bytes: 0, linked: 0, gaps: 0, held: 0, mismatches: 0, refused: 0, strangers: 0 };
  const survey: Survey = { deps, top, changes: [], candidates: new Map(), counts };
  if (deps.copies !== null) await mkdir(join(deps.copies, place), { recursive: true, mode: 0o700 });
  const indexes = await findServedIndexes(top);
  for (const [i, index] of indexes.entries()) {
    deps.signal.throwIfAborted();
    await lookAtRepository(survey, index, { before: i, of: indexes.length });
  }
  await findStrangers(survey);
  const { gaps, held, ...others } = counts;
  return { ...others, changes: survey.changes, gaps: { total: gaps, held } };
}

async function lookAtRepository(survey: Survey, index: ServedIndex, position: Position): Promise<void> {
  const { deps } = survey;
  const { store, verifier, signal } = deps;
  const { repository, file: indexFile } = index;
  const path = `${repository}/${indexFile}`;
  const owner = ownerOf(deps.config.inboxes, index);
  // Then it is a stranger, with all that lies beside it.
  if (owner === null) return;
  const refuse = (code: VerificationCode, detail: string): void => {
    survey.counts.refused++;
    deps.tell({ kind: 'refused', path, detail: `${code}: ${detail}` });
  };
  const { inbox } = owner;
  const keyring = keyringOf(deps.keyrings.get(inbox.builder) ?? { keys: [] }, repository, systemClock.now());
  const candidate = store.staging.newCandidate(inbox.builder, repository, indexFile);
  survey.candidates.set(repository, [...(survey.candidates.get(repository) ?? []), candidate]);
  const real = await realBelow(survey, path);
  if (real.path === null) return refuse('NOT_REGULAR', real.detail);
  let elsewhere: string | undefined;
  await using handle = await open(real.path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  const indexSource = `${place}/${candidate}.index`;
  const verdict = await verifier.verifyIndex({
    sourceFd: handle.fd,
    ...(deps.copies === null ? {} : { destination: join(deps.copies, indexSource) }),
    arch: owner.arch,
    fileName: indexFile,
    keyring,
    acceptEmpty: true,
    onEntries: (entries) => {
      elsewhere ??= entries.map(packageFileName).find((file) => file.includes('/'));
      store.staging.add(candidate, entries);
    },
    signal,
  });
  if (verdict.verdict !== 'accepted') return refuse(verdict.code, verdict.detail);
  if (elsewhere !== undefined)
    return refuse('OUT_OF_SCOPE', `pkgname-spec puts packages into other directories: ${elsewhere}`);
  const published = store.generations.indexOf(repository, indexFile);
  if (published?.sha256 === verdict.index.sha256) return;
  if (published !== null)
    return refuse(
      'REPLAY',
      'lockstepd serves this repository already, with another index: upload it through its inbox',
    );
  const { base } = await inPieces(store.staging.compare(candidate));
  const looked = { packages: 0 };
  for (const page of store.staging.rows(candidate, ['missing']))
    await eachLimited(page, looksAtOnce, async (row) => {
      await lookAtPackage(survey, { repository, inbox, keyring }, row);
      looked.packages++;
      deps.onProgress?.(progressAt(survey, position, looked.packages / verdict.index.packages));
    });
  const conflict = store.staging.conflict(candidate);
  if (conflict !== null)
    return refuse('INDEX_DUPLICATE', `another index of this directory names ${conflict} with other content`);
  const change = { repository, indexFile, candidate, base, index: verdict.index, indexSource };
  survey.changes.push({ ...change, builder: inbox.builder });
}

interface Position {
  /** Indexes that were looked at before this one, out of how many. */
  readonly before: number;
  readonly of: number;
}

/** How many packages there are in all is only known at the last index: the share is that of the indexes. */
function progressAt({ counts }: Survey, { before, of }: Position, share: number): Progress {
  const { packages, bytes } = counts;
  return { what: 'packages', done: packages, total: 0, bytes, bytesTotal: 0, share: (before + share) / of };
}

interface Repository {
  readonly repository: string;
  readonly inbox: InboxConfig;
  readonly keyring: Keyring;
}

async function lookAtPackage(survey: Survey, of: Repository, row: StagedRow): Promise<void> {
  const { deps, counts } = survey;
  const { staging } = deps.store;
  deps.signal.throwIfAborted();
  const path = `${of.repository}/${row.file}`;
  const real = await realBelow(survey, path);
  if (real.path === null && real.absent) {
    counts.gaps++;
    if (of.inbox.missingPackages === 'hold') counts.held++;
    deps.tell({ kind: 'gap', path, detail: 'the index names it, and it is not there' });
    return;
  }
  const taken = real.path === null ? null : await take(survey, of, row, real.path);
  if (taken?.verdict.verdict === 'accepted') {
    const { sha256, mtimeSeconds, arch, signedBy, size } = taken.verdict.package;
    staging.setReady(row.id, { source: taken.source, sha256, mtimeSeconds, packageArch: arch, signedBy });
    counts.packages++;
    counts.bytes += size;
    if (taken.linked) counts.linked++;
    return;
  }
  counts.mismatches++;
  const detail = taken === null ? `NOT_REGULAR: ${real.detail}` : `${taken.verdict.code}: ${taken.verdict.detail}`;
  deps.tell({ kind: 'mismatch', path, detail });
}

interface Taken {
  readonly verdict: PackageVerdict;
  /** Relative to the root. */
  readonly source: string;
  readonly linked: boolean;
}

/** Verifies a package under a name of our own where it can be linked, and else while it is copied: what was verified is what is kept. */
async function take({ deps }: Survey, { inbox, keyring }: Repository, row: StagedRow, path: string): Promise<Taken> {
  const source = `${place}/${row.id}.apk`;
  const own = deps.copies === null ? null : join(deps.copies, source);
  const linked = own !== null && (await linkOwn(path, own));
  await using handle = await open(
    linked ? own : path,
    constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW,
  );
  const verdict = await deps.verifier.verifyPackage({
    sourceFd: handle.fd,
    ...(own === null || linked ? {} : { destination: own }),
    entry: row.entry,
    keyring,
    packageSignatures: inbox.packageSignatures,
    inflate: true,
    explainSize: true,
    signal: deps.signal,
  });
  if (linked && verdict.verdict !== 'accepted') await rm(own, { force: true });
  return { verdict, source, linked };
}

/** Links a file that nobody but this user can change, and that has the mode of published files. False where it must be copied. */
async function linkOwn(path: string, own: string): Promise<boolean> {
  const { uid, mode } = await stat(path);
  if (uid !== process.geteuid?.() || (mode & 0o7777) !== 0o644) return false;
  try {
    await link(path, own);
    return true;
  } catch (error) {
    if (['EXDEV', 'EMLINK', 'EPERM'].includes(errnoOf(error) ?? '')) return false;
    throw error;
  }
}

type Real =
  | { readonly path: string; readonly detail: string; readonly absent: false }
  | { readonly path: null; readonly detail: string; readonly absent: boolean };

/** Where a path below the directory leads: real repositories link packages between architectures. */
async function realBelow({ top }: Survey, path: string): Promise<Real> {
  try {
    const real = await realpath(join(top, path));
    if (!real.startsWith(`${top}${sep}`))
      return { path: null, detail: 'a symlink that leads out of the directory', absent: false };
    if (!(await stat(real)).isFile()) return { path: null, detail: 'not a regular file', absent: false };
    return { path: real, detail: '', absent: false };
  } catch (error) {
    const code = errnoOf(error) ?? '';
    if (!['ENOENT', 'ENOTDIR', 'ELOOP'].includes(code)) throw error;
    return { path: null, detail: code, absent: code !== 'ELOOP' };
  }
}

/** Tells every file that nothing will name: it is left out. */
async function findStrangers({ deps, top, candidates, counts }: Survey): Promise<void> {
  for await (const { directory, name } of walkFiles(top)) {
    deps.signal.throwIfAborted();
    const here = candidates.get(directory);
    const isIndex = isIndexFileName(name);
    const isNamed = here?.some((id) => deps.store.takeover.isStaged(id, name)) ?? false;
    if (here !== undefined && (isIndex || isNamed || deps.store.takeover.knows(directory, name))) continue;
    if (directory === '' && name === traceFile) continue;
    counts.strangers++;
    const detail = isIndex ? 'OUT_OF_SCOPE: no inbox of the configuration may hold this repository' : '';
    deps.tell({ kind: 'stranger', path: posix.join(directory, name), detail });
  }
}
