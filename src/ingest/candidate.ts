/** One repository of an inbox whose index is not the published one: its private copies, and how far it is from being whole. */
import { copyFile, rename, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { IndexEntry } from '../apk/entry.ts';
import type { InboxConfig } from '../config/schema.ts';
import { errnoOf, messageOf, OperationError } from '../errors.ts';
import type { Reason } from '../store/batches.ts';
import type { StagedRow } from '../store/staging.ts';
import type { Store } from '../store/store.ts';
import { eachLimited } from '../system/limit.ts';
import type { Keyring } from '../trust/keyring.ts';
import type { IndexFacts, Verified, Verifier } from '../trust/verify.ts';
import type { Assessment } from './batch.ts';
import type { FoundIndex } from './indexes.ts';
import type { Inbox, InboxDirectory, Opened } from './walk.ts';

export interface CandidateDeps {
  readonly inbox: InboxConfig;
  readonly root: string;
  readonly store: Store;
  readonly verifier: Verifier;
  readonly keyring: Keyring;
  readonly maxRemovedPercent: number;
  readonly currentTree: () => string | null;
  readonly signal: AbortSignal;
  /** Told of each package that was looked at or copied. */
  readonly onProgress: () => void;
}

/** Free space that no copy may use up, in bytes: the store, the log and the web server live on too. */
const diskReserve = 64 * 1024 * 1024;
const reasonsShown = 200;
const copiesAtOnce = 4;

export class Candidate {
  readonly repository: string;
  readonly arch: string;
  /** The uploaded index as it was read; another value means another candidate. */
  readonly stat: string;
  readonly id: number;
  #facts: Verified<IndexFacts> | null = null;
  #refusal: Reason | null = null;
  #diskFull: Reason | null = null;
  readonly #deps: CandidateDeps;
  readonly #fileName: string;

  private constructor(found: FoundIndex, deps: CandidateDeps) {
    this.repository = found.repository;
    this.arch = found.arch;
    this.stat = statOf(found.opened);
    this.id = deps.store.staging.newCandidate();
    this.#fileName = found.fileName;
    this.#deps = deps;
  }

  /** Copies the index away and verifies the copy; what it names is then in the staging table. */
  static async read(found: FoundIndex, deps: CandidateDeps): Promise<Candidate> {
    const candidate = new Candidate(found, deps);
    if (found.opened.kind === 'refused') {
      candidate.#refuse(found.opened.code, found.opened.detail, `/${found.fileName}`);
      return candidate;
    }
    try {
      await rm(candidate.#path(candidate.indexSource), { force: true });
      const { staging } = deps.store;
      const verdict = await deps.verifier.verifyIndex({
        sourceFd: found.opened.handle.fd,
        destination: candidate.#path(candidate.indexSource),
        arch: found.arch,
        keyring: deps.keyring,
        onEntries: (entries: readonly IndexEntry[]) => staging.add(candidate.id, entries),
        signal: deps.signal,
      });
      if (verdict.verdict !== 'accepted') {
        candidate.#refuse(verdict.code, verdict.detail, `/${found.fileName}`);
        return candidate;
      }
      candidate.#facts = verdict.index;
      for (const _ of staging.compareWithPublished(candidate.id, found.repository)) await breathe();
    } catch (error) {
      if (!isDiskFull(error)) throw error;
      candidate.#diskFull = { code: 'DISK', path: found.repository, detail: messageOf(error) };
    }
    return candidate;
  }

  get facts(): Verified<IndexFacts> | null {
    return this.#facts;
  }

  /** Where the private copy of the index lies, relative to the root. */
  get indexSource(): string {
    return `ingest/${this.#deps.inbox.builder}/${this.id}.index`;
  }

  /** Named by the index, not to be had: a later upload may bring them. */
  hasMissing(): boolean {
    return this.#deps.store.staging.counts(this.id).missing > 0;
  }

  /** True when there is nothing to publish: the index is the current one and nothing that it names came new. */
  isPublished(): boolean {
    const current = this.#deps.store.generations.indexOf(this.repository);
    if (!this.#facts || current?.sha256 !== this.#facts.sha256) return false;
    const { present, ready, failed } = this.#deps.store.staging.counts(this.id);
    return present + ready + failed === 0;
  }

  /** True when the current index is this one and every package it names is published. */
  isComplete(): boolean {
    return this.isPublished() && !this.hasMissing();
  }

  /** True when not even the index could be copied: it must be read again. */
  get unread(): boolean {
    return this.#facts === null && this.#diskFull !== null;
  }

  /** Looks in the inbox for what was missing or refused. True when anything is different from last time. */
  async look(inbox: Inbox): Promise<boolean> {
    if (!this.#facts) return false;
    if (this.#diskFull) this.#diskFull = await this.#diskProblem();
    let changed = false;
    await using directory = await inbox.directory(this.repository.split('/'));
    for (const page of this.#deps.store.staging.rows(this.id, ['missing', 'failed'])) {
      this.#deps.signal.throwIfAborted();
      for (const row of page) changed = (await this.#lookAt(row, directory)) || changed;
      this.#deps.onProgress();
    }
    return changed;
  }

  /** What stands between this candidate and its publication now. */
  assess(): Assessment {
    const base = { repository: this.repository, sha256: this.#facts?.sha256 ?? null };
    if (this.#diskFull) return { ...base, kind: 'guarded', reasons: [this.#diskFull] };
    if (!this.#facts) return { ...base, kind: 'refused', reasons: this.#refusal ? [this.#refusal] : [] };
    const replay = this.#replay(this.#facts);
    if (replay) return { ...base, kind: 'refused', reasons: [replay] };
    const counts = this.#deps.store.staging.counts(this.id);
    if (counts.failed > 0) return { ...base, kind: this.#onlyHeld() ? 'guarded' : 'refused', reasons: this.#problems() };
    const decision = this.#deps.store.batches.decision(this.repository, this.#facts.sha256);
    const removal = this.#massRemoval();
    if (decision === 'rejected') {
      return { ...base, kind: 'refused', reasons: [removal ?? { code: 'INCOMPLETE', path: this.repository, detail: 'rejected by an operator' }] };
    }
    if (removal && decision !== 'approved') return { ...base, kind: 'guarded', reasons: [removal] };
    return counts.missing > 0 ? { ...base, kind: 'incomplete', reasons: this.#problems() } : { ...base, kind: 'closed' };
  }

  /** Takes private, verified copies of everything that is present. What is wrong with a file is in the next assessment. */
  async copy(inbox: Inbox): Promise<void> {
    this.#diskFull = await this.#diskProblem();
    if (this.#diskFull) return;
    const directory = await inbox.directory(this.repository.split('/'));
    try {
      for (const page of this.#deps.store.staging.rows(this.id, ['present'])) {
        await eachLimited(page, copiesAtOnce, async (row) => {
          this.#deps.signal.throwIfAborted();
          if (!this.#diskFull) await this.#copyRow(row, directory);
          this.#deps.onProgress();
        });
      }
    } finally {
      await directory?.[Symbol.asyncDispose]();
    }
  }

  /** Moves the private copies of refused packages into `directory`; the index is copied, a later upload may mend the batch. */
  async quarantine(directory: string): Promise<void> {
    const prefix = this.repository.replaceAll('/', '%');
    await ifThere(copyFile(this.#path(this.indexSource), join(directory, `${prefix}%${this.#fileName}`)));
    for (const page of this.#deps.store.staging.rows(this.id, ['failed'])) {
      for (const row of page) {
        await ifThere(rename(this.#path(this.#copyOf(row)), join(directory, `${prefix}%${row.file}`)));
      }
    }
  }

  /** Forgets the candidate and its private copies. */
  async drop(): Promise<void> {
    await rm(this.#path(this.indexSource), { force: true });
    for (const page of this.#deps.store.staging.rows(this.id, ['ready', 'failed', 'present', 'missing'])) {
      for (const row of page) await rm(this.#path(this.#copyOf(row)), { force: true });
    }
    this.#deps.store.staging.drop(this.id);
  }

  async #lookAt(row: StagedRow, directory: InboxDirectory | null): Promise<boolean> {
    const { staging } = this.#deps.store;
    if (this.#takeKnown(row)) return true;
    const opened: Opened = directory ? await directory.openFile(row.file) : { kind: 'absent' };
    if (opened.kind === 'file') await opened.handle.close();
    const stat = statOf(opened);
    if (stat === row.stat) return false;
    switch (opened.kind) {
      case 'absent':
        staging.setState(row.id, 'missing', stat);
        return row.stat !== null;
      case 'refused':
        staging.setFailed(row.id, stat, { code: opened.code, detail: opened.detail, held: false });
        return true;
      case 'file':
        if (opened.size === row.entry.size) staging.setState(row.id, 'present', stat);
        else staging.setState(row.id, 'missing', stat, `${opened.size} bytes, expected ${row.entry.size}`);
        return true;
    }
  }

  async #copyRow(row: StagedRow, directory: InboxDirectory | null): Promise<void> {
    const { staging } = this.#deps.store;
    if (this.#takeKnown(row)) return;
    const opened: Opened = directory ? await directory.openFile(row.file) : { kind: 'absent' };
    if (opened.kind !== 'file') {
      if (opened.kind === 'absent') staging.setState(row.id, 'missing', null);
      else staging.setFailed(row.id, statOf(opened), { code: opened.code, detail: opened.detail, held: false });
      return;
    }
    const source = this.#copyOf(row);
    try {
      await rm(this.#path(source), { force: true });
      const verdict = await this.#deps.verifier.verifyPackage({
        sourceFd: opened.handle.fd,
        destination: this.#path(source),
        entry: row.entry,
        keyring: this.#deps.keyring,
        packageSignatures: this.#deps.inbox.packageSignatures,
        inflate: true,
        signal: this.#deps.signal,
      });
      if (verdict.verdict === 'accepted') {
        const { sha256, mtimeSeconds, arch, signedBy } = verdict.package;
        staging.setReady(row.id, { source, sha256, mtimeSeconds, packageArch: arch, signedBy });
      } else {
        staging.setFailed(row.id, opened.stat, { code: verdict.code, detail: verdict.detail, held: verdict.verdict === 'held' });
      }
    } catch (error) {
      if (!isDiskFull(error)) throw error;
      this.#diskFull = { code: 'DISK', path: `${this.repository}/${row.file}`, detail: messageOf(error) };
    } finally {
      await opened.handle.close();
    }
  }

  /** Bytes with this identity were verified before: nothing needs to be read again. */
  #takeKnown(row: StagedRow): boolean {
    const known = this.#deps.store.staging.known(row.entry, this.#deps.currentTree());
    if (!known) return false;
    if (known.packageArch !== 'noarch' && known.packageArch !== row.entry.arch) return false;
    if (this.#deps.inbox.packageSignatures === 'require' && known.signedBy === null) return false;
    this.#deps.store.staging.setReady(row.id, known);
    return true;
  }

  #replay(facts: Verified<IndexFacts>): Reason | null {
    const range = this.#deps.store.generations.rangeOf(this.repository, facts.sha256);
    if (!range || range.last === null) return null;
    return {
      code: 'REPLAY',
      path: this.repository,
      detail: `this index was published as generation ${range.first} and replaced after ${range.last}; only a rollback may bring it back`,
    };
  }

  #massRemoval(): Reason | null {
    const live = this.#deps.store.generations.livePackages(this.repository);
    const removals = live === 0 ? 0 : this.#deps.store.staging.removals(this.id, this.repository);
    if (removals < 2 || (removals * 100) / live <= this.#deps.maxRemovedPercent) return null;
    return {
      code: 'MASS_REMOVAL',
      path: this.repository,
      detail: `removes ${removals} of ${live} packages, more than ${this.#deps.maxRemovedPercent} %: approve or reject it`,
    };
  }

  #problems(): Reason[] {
    const counts = this.#deps.store.staging.counts(this.id);
    const reasons: Reason[] = this.#deps.store.staging.problems(this.id, reasonsShown).map((p) => ({
      code: p.code ?? 'INCOMPLETE',
      path: `${this.repository}/${p.file}`,
      detail: p.detail ?? 'named by the index, not in the inbox',
    }));
    const more = counts.missing + counts.failed - reasons.length;
    if (more > 0) reasons.push({ code: 'INCOMPLETE', path: this.repository, detail: `and ${more} more` });
    return reasons;
  }

  #onlyHeld(): boolean {
    return this.#deps.store.staging.problems(this.id, reasonsShown).every((p) => p.state === 'missing' || p.held);
  }

  async #diskProblem(): Promise<Reason | null> {
    const needed = this.#deps.store.staging.bytesToCopy(this.id);
    const { bavail, bsize } = await statfs(this.#deps.root);
    const free = bavail * bsize;
    if (free - needed >= diskReserve) return null;
    return {
      code: 'DISK',
      path: this.repository,
      detail: `needs ${needed} bytes and ${diskReserve} in reserve, free are ${free} below ${this.#deps.root}: make room, the batch is tried again`,
    };
  }

  #copyOf(row: StagedRow): string {
    return `ingest/${this.#deps.inbox.builder}/${row.id}.apk`;
  }

  #path(relative: string): string {
    return join(this.#deps.root, relative);
  }

  #refuse(code: Reason['code'], detail: string, suffix: string): void {
    this.#refusal = { code, detail, path: `${this.repository}${suffix}` };
  }
}

/** The identity of what was opened, as one line; `absent` is null. */
export function statOf(opened: Opened): string {
  switch (opened.kind) {
    case 'file':
      return opened.stat;
    case 'refused':
      return `${opened.code} ${opened.detail}`;
    case 'absent':
      return 'absent';
  }
}

function isDiskFull(error: unknown): boolean {
  return error instanceof OperationError && error.code === 'DISK_FULL';
}

async function ifThere(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
}

/** Lets waiting input and timers run between two pieces of synchronous work. */
async function breathe(): Promise<void> {
  await new Promise((resolve) => {
    setImmediate(resolve);
  });
}
