/** One repository of an inbox whose index is not the published one: its private copies, and how far it is from being whole. */
import { copyFile, mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type IndexEntry, type IndexFileName, packageFileName } from '../apk/entry.ts';
import { keyringOf } from '../config/key-scope.ts';
import { errnoOf, messageOf, type VerificationCode } from '../errors.ts';
import type { Reason } from '../store/batches.ts';
import { type Changes, noChanges } from '../store/changes.ts';
import type { Difference } from '../store/staging.ts';
import { eachLimited } from '../system/limit.ts';
import { inPieces } from '../system/pieces.ts';
import type { Keyring } from '../trust/keyring.ts';
import type { IndexFacts, IndexVerdict, Verified } from '../trust/verify.ts';
import type { Assessment } from './batch.ts';
import type { FoundIndex } from './indexes.ts';
import { type GuardFacts, guardFindings, judge } from './guards.ts';
import { type CandidateDeps, copyOf, copyPackages, isDiskFull, lookForPackages, type Wanted } from './packages.ts';
import type { Demand } from './quotas.ts';
import { spaceProblem } from './space.ts';
import type { Inbox } from './walk.ts';

/** Changes of each kind that a reason names. */
const changesNamed = 3;
const reasonsShown = 200;

export class Candidate {
  readonly repository: string;
  /** Path of the index, below the inbox and below the public tree. */
  readonly path: string;
  readonly fileName: IndexFileName;
  /** The uploaded index as it was seen; another value means another candidate. */
  readonly stat: string;
  readonly id: number;
  #facts: Verified<IndexFacts> | null = null;
  #difference: Difference | null = null;
  #changes: Changes | null = null;
  #verifyMs = 0;
  #refusal: (Reason & { readonly held: boolean }) | null = null;
  #diskFull: Reason | null = null;
  /** What went wrong that says nothing about the upload; it is tried again. */
  #trouble: Reason | null = null;
  #demand: Omit<Demand, 'index' | 'repository'> = { bytes: 0, largest: null };
  readonly #deps: CandidateDeps;

  private constructor(found: FoundIndex, deps: CandidateDeps) {
    this.repository = found.repository;
    this.path = found.path;
    this.fileName = found.fileName;
    this.stat = found.seen.stat;
    this.id = deps.store.staging.newCandidate(deps.inbox.builder, found.repository, found.fileName);
    this.#deps = deps;
  }

  /** Copies the index away and verifies the copy; what it brings and takes away is then in the staging table. */
  static async read(inbox: Inbox, found: FoundIndex, deps: CandidateDeps): Promise<Candidate> {
    const candidate = new Candidate(found, deps);
    const startedAt = deps.clock.monotonic();
    try {
      await candidate.#read(inbox, found);
      candidate.#verifyMs = deps.clock.monotonic() - startedAt;
    } catch (error) {
      if (deps.signal.aborted) await candidate.drop();
      candidate.#takeError(error);
    }
    return candidate;
  }

  get facts(): Verified<IndexFacts> | null {
    return this.#facts;
  }

  /** The generation since which the repository has the index that this one was compared with. */
  get base(): number | null {
    return this.#difference?.base ?? null;
  }

  /** How long the index took to copy, verify and compare, in milliseconds. */
  get verifyMs(): number {
    return this.#verifyMs;
  }

  /** Where the private copy of the index lies, relative to the root. */
  get indexSource(): string {
    return `ingest/${this.#deps.inbox.builder}/${this.id}.index`;
  }

  /** Present in the inbox, and no private copy taken yet. */
  hasUncopied(): boolean {
    return this.#deps.store.staging.counts(this.id).present > 0;
  }

  /** Named by the index, not to be had: a later upload may bring them. */
  hasMissing(): boolean {
    return this.#deps.store.staging.counts(this.id).missing > 0;
  }

  /** True when there is nothing to publish: the index is the current one and nothing that it names came new. */
  isPublished(): boolean {
    const current = this.#deps.store.generations.indexOf(this.repository, this.fileName);
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
    return this.#facts === null && (this.#diskFull ?? this.#trouble) !== null;
  }

  /** What its inbox must have room for. */
  get demand(): Demand {
    return { index: this.path, repository: this.repository, ...this.#demand };
  }

  /** True when it was judged by the keys of this keyring. */
  isJudgedBy(keyring: Keyring): boolean {
    return this.#deps.keyring === keyring;
  }

  /** Looks in the inbox for what was missing or refused. True when anything is different from last time. */
  async look(inbox: Inbox): Promise<boolean> {
    if (!this.#facts) return false;
    this.#trouble = null;
    try {
      if (this.#diskFull) this.#diskFull = await this.#diskProblem(this.#bytesToCopy);
      return await lookForPackages(this.#wanted, inbox);
    } catch (error) {
      this.#takeError(error);
      return false;
    }
  }

  /** Takes private, verified copies of everything that is present. What is wrong with a file is in the next assessment. */
  async copy(inbox: Inbox): Promise<void> {
    try {
      this.#diskFull = (await this.#diskProblem(this.#bytesToCopy)) ?? (await copyPackages(this.#wanted, inbox));
    } catch (error) {
      this.#takeError(error);
    }
  }

  /** The disk was full when this candidate was to be published; it is tried again when there is room. */
  blockByDisk(detail: string): void {
    this.#diskFull = { code: 'DISK', path: this.repository, detail };
  }

  /** What stands between this candidate and its publication now. */
  assess(): Assessment {
    const { repository, path: index, base: since } = this;
    const base = { repository, index, sha256: this.#facts?.sha256 ?? null, base: since, vanished: false };
    const passing = this.#diskFull ?? this.#trouble;
    if (passing) return { ...base, kind: 'guarded', reasons: [passing] };
    if (!this.#facts) return { ...base, ...this.#refused() };
    const { staging, decisions } = this.#deps.store;
    const findings = guardFindings(this.#guardFacts(this.#facts), this.#deps.inbox);
    const judged = judge(this.repository, findings, this.base, decisions.find(this.path, this.#facts.sha256));
    if (judged.kind === 'refused') return { ...base, ...judged };
    const counts = staging.counts(this.id);
    if (counts.failed > 0) {
      return { ...base, kind: staging.hasRejected(this.id) ? 'refused' : 'guarded', reasons: this.#problems() };
    }
    const conflict = staging.conflict(this.id);
    if (conflict !== null) {
      const path = `${this.repository}/${conflict}`;
      const detail = 'another index of this directory names it with other content: give them different names';
      return { ...base, kind: 'refused', reasons: [{ code: 'INDEX_DUPLICATE', path, detail }] };
    }
    if (judged.kind === 'guarded') return { ...base, ...judged };
    return counts.missing > 0
      ? { ...base, kind: 'incomplete', reasons: this.#problems() }
      : { ...base, kind: 'closed' };
  }

  /** Moves the private copies of refused packages, as many as reasons are told, below `directory`; the index is copied, a later upload may mend the batch. */
  async quarantine(directory: string): Promise<void> {
    const target = join(directory, this.repository);
    await mkdir(target, { recursive: true, mode: 0o750 });
    await ifThere(copyFile(this.#path(this.indexSource), join(target, this.fileName)));
    let left = reasonsShown;
    for (const page of this.#deps.store.staging.rows(this.id, ['failed'])) {
      for (const row of page.slice(0, left)) {
        await ifThere(rename(this.#path(copyOf(this.#deps.inbox, row)), join(target, row.file)));
      }
      left -= page.length;
      if (left <= 0) return;
    }
  }

  /** It is done with, and dropped later. */
  retire(): void {
    this.#deps.store.staging.retire(this.id);
  }

  /** Forgets the candidate and its private copies. */
  async drop(): Promise<void> {
    const { staging } = this.#deps.store;
    await rm(this.#path(this.indexSource), { force: true });
    for (const page of staging.rows(this.id, ['ready', 'failed'])) {
      await eachLimited(page, 8, (row) => rm(this.#path(copyOf(this.#deps.inbox, row)), { force: true }));
      this.#deps.onProgress();
    }
    await inPieces(staging.drop(this.id));
  }

  async #read(inbox: Inbox, found: FoundIndex): Promise<void> {
    const { staging } = this.#deps.store;
    await using directory = await inbox.directory(this.repository.split('/'));
    const opened = (await directory?.openFile(found.fileName)) ?? { kind: 'absent' };
    switch (opened.kind) {
      case 'absent':
        this.#refuse('INCOMPLETE', 'it went away while it was looked at', false);
        return;
      case 'refused':
        this.#refuse(opened.code, opened.detail, false);
        return;
      case 'file':
    }
    await using handle = opened.handle;
    const { maxFileBytes } = this.#deps.inbox.quotas;
    if (opened.size > maxFileBytes) {
      this.#refuse('QUOTA', `${opened.size} bytes, at most ${maxFileBytes} (quotas.max_file)`, true);
      return;
    }
    this.#diskFull = await this.#diskProblem(opened.size);
    if (this.#diskFull) return;
    const verdict = await this.#verifyIndex(handle.fd, found);
    if (verdict.verdict !== 'accepted') {
      this.#refuse(verdict.code, verdict.detail, verdict.verdict === 'held');
      return;
    }
    const place = { repository: this.repository, indexFile: this.fileName };
    this.#difference = await inPieces(staging.compare(this.id));
    this.#changes = await inPieces(this.#deps.store.changes.of(this.id, place, changesNamed));
    this.#demand = staging.demand(this.id);
    this.#facts = verdict.index;
  }

  /** Reads no further than as many packages as the inbox may bring. */
  async #verifyIndex(sourceFd: number, { arch, fileName }: FoundIndex): Promise<IndexVerdict> {
    const { clock, inbox, keyring, onProgress, signal, store, verifier } = this.#deps;
    const { maxPackages } = inbox.quotas;
    let packages = 0;
    let elsewhere: string | undefined;
    const onEntries = (entries: readonly IndexEntry[]): void => {
      packages += entries.length;
      if (packages > maxPackages) throw new RangeError('more packages than quotas.max_packages');
      elsewhere ??= entries.map(packageFileName).find((file) => file.includes('/'));
      store.staging.add(this.id, entries);
      onProgress();
    };
    try {
      const verdict = await verifier.verifyIndex({
        sourceFd,
        destination: this.#path(this.indexSource),
        arch,
        fileName,
        keyring: keyringOf(keyring, this.repository, clock.now()),
        acceptEmpty: true,
        onEntries,
        signal,
      });
      if (verdict.verdict !== 'accepted' || elsewhere === undefined) return verdict;
      // Another repository may lie there; which of the two a file belongs to must never be a question.
      const detail = `pkgname-spec puts packages into other directories: ${elsewhere}`;
      return { verdict: 'rejected', code: 'OUT_OF_SCOPE', detail };
    } catch (error) {
      if (packages <= maxPackages) throw error;
      const detail = `more than ${maxPackages} packages (quotas.max_packages): raise it, or mend the upload`;
      return { verdict: 'held', code: 'QUOTA', detail };
    }
  }

  /** Nothing that is wrong with one repository may keep the others of its inbox from being published. */
  #takeError(error: unknown): void {
    this.#deps.signal.throwIfAborted();
    const detail = messageOf(error);
    if (isDiskFull(error)) this.#diskFull = { code: 'DISK', path: this.repository, detail };
    else this.#trouble = { code: 'INCOMPLETE', path: this.repository, detail: `cannot be read now: ${detail}` };
  }

  get #wanted(): Wanted {
    return { repository: this.repository, candidate: this.id, deps: this.#deps };
  }

  #refuse(code: VerificationCode, detail: string, held: boolean): void {
    this.#refusal = { code, detail, held, path: `${this.repository}/${this.fileName}` };
  }

  #refused(): { readonly kind: 'refused' | 'guarded'; readonly reasons: readonly Reason[] } {
    if (!this.#refusal) return { kind: 'refused', reasons: [] };
    const { held, ...reason } = this.#refusal;
    return { kind: held ? 'guarded' : 'refused', reasons: [reason] };
  }

  #guardFacts(index: Verified<IndexFacts>): GuardFacts {
    const { generations, rollbacks, takeover } = this.#deps.store;
    return {
      publishedBefore: takeover.wasPublishedBefore(index.sha256),
      repository: this.repository,
      index,
      known: generations.ageOf(this.repository, this.fileName),
      served: generations.rangeOf(this.repository, index.sha256),
      elsewhere: generations.otherRepositoryOf(this.repository, index.sha256),
      rolledBack: rollbacks.awayFrom(this.repository, index.sha256),
      live: this.#difference?.live ?? 0,
      removals: this.#difference?.removals ?? 0,
      changes: this.#changes ?? noChanges,
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

  get #bytesToCopy(): number {
    return this.#deps.store.staging.bytesToCopy(this.id);
  }

  async #diskProblem(needed: number): Promise<Reason | null> {
    const { reserveBytes, root, store } = this.#deps;
    const need = { bytes: needed, files: store.staging.counts(this.id).present };
    const problem = await spaceProblem(root, need, reserveBytes);
    // The same words each time: an unchanged reason is told once.
    return problem === null
      ? null
      : { code: 'DISK', path: this.repository, detail: `${problem}, the batch is tried again` };
  }

  #path(relative: string): string {
    return join(this.#deps.root, relative);
  }
}

async function ifThere(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
}
