/**
 * Watches over one inbox: wakes on events, on the end of an upload and on a timer, finds what changed, and hands closed
 * batches to the publisher. What to do is read from the disk at each pass; nothing here is remembered that matters.
 *
 *   quiet --lock taken--> uploading --lock released--> look --closed--> publish --> quiet
 *     \--index changed (no lock seen)------------------>/ | \--unchanged for `settle`--> held | rejected --> quiet
 *                                                         \--something changed--> look again
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { InboxConfig } from '../config/schema.ts';
import { messageOf, OperationError } from '../errors.ts';
import type { Generation } from '../store/generations.ts';
import { Wake } from '../system/limit.ts';
import { inPieces } from '../system/pieces.ts';
import { removeTree } from '../system/remove-tree.ts';
import { type Assessment, type InboxFacts, planBatch, reasonsOf } from './batch.ts';
import { Candidate } from './candidate.ts';
import { closedBatch } from './closed.ts';
import { type FoundIndex, findIndexes } from './indexes.ts';
import { Ledger } from './ledger.ts';
import { seeUpload } from './locks.ts';
import { type CandidateDeps, isDiskFull } from './packages.ts';
import type { IngestDeps, OpenInbox } from './ports.ts';
import { applyQuotas } from './quotas.ts';
import { problemOf, ScopeWatch } from './scope.ts';
import { VanishedIndexes } from './vanished.ts';
import { Inbox } from './walk.ts';

/** How often the lock of a quiet inbox is looked at, and of one that is being written to. Reading /proc/locks costs microseconds. */
const quietPollMs = 50;
const uploadPollMs = 15;
const secondLookMs = 300;
const heldPauseMs = 1000;
const failedPauseMs = 5000;
/** However often something wakes it, an inbox full of junk is not looked at all the time. */
const longestPaceMs = 2000;

export class InboxService {
  readonly #config: InboxConfig;
  readonly #deps: IngestDeps;
  readonly #ledger: Ledger;
  readonly #wake = new Wake();
  readonly #candidates = new Map<string, Candidate>();
  readonly #vanished: VanishedIndexes;
  readonly #scope: ScopeWatch;
  /** Index files that are known to be published, by path: the value of stat then. */
  readonly #published = new Map<string, string>();
  #uploading = false;
  /** The last look at the inbox was taken while an upload ran. */
  #surveyedInUpload = false;
  #changedAt: number;
  #announced = false;
  #missingLogged = false;
  /** Candidates that have a successor, until it has taken over what they have copied. */
  readonly #replaced: Candidate[] = [];
  /** Device and inode of the inbox that was looked at last; null when there was none. */
  #place: string | null = null;
  #progressAt: number;
  /** No look at the inbox begins before this, on the monotonic clock. */
  #pacedUntil = 0;

  constructor(config: InboxConfig, deps: IngestDeps) {
    this.#config = config;
    this.#deps = deps;
    this.#ledger = new Ledger(config.builder, { ...deps, batches: deps.store.batches });
    this.#vanished = new VanishedIndexes(config, deps);
    this.#scope = new ScopeWatch(config, deps.rescanMs);
    this.#changedAt = deps.clock.monotonic();
    this.#progressAt = deps.clock.monotonic();
  }

  /** When the loop last got anywhere, on the monotonic clock: proof of life. */
  get progressAt(): number {
    return this.#progressAt;
  }

  /** What is open: indexes that are not published, and served ones that vanished from the inbox. */
  get open(): OpenInbox {
    const candidate = (path: string): Candidate | null => {
      const found = this.#candidates.get(path);
      return found === undefined || found.isPublished() ? null : found;
    };
    return { candidate, assess: (path) => candidate(path)?.assess() ?? this.#vanished.assessOne(path) };
  }

  /** Something may have happened: look soon. */
  wake(): void {
    this.#announced = true;
    this.#wake.wake();
  }

  /** Runs until aborted. A pass that fails is logged and tried again; the public tree is not touched by a failure. */
  async run(signal: AbortSignal): Promise<void> {
    const copies = join(this.#deps.root, 'ingest', this.#config.builder);
    await removeTree(copies);
    await mkdir(copies, { recursive: true, mode: 0o700 });
    try {
      for (;;) {
        signal.throwIfAborted();
        await this.#rest(await this.#passOrPause(signal), signal);
      }
    } finally {
      for (const { id } of [...this.#candidates.values(), ...this.#replaced])
        await inPieces(this.#deps.store.staging.drop(id));
    }
  }

  async #passOrPause(signal: AbortSignal): Promise<number> {
    try {
      return await this.#pass(signal);
    } catch (error) {
      signal.throwIfAborted();
      this.#deps.log.error('ingest_failed', { builder: this.#config.builder, detail: messageOf(error) });
      return Math.min(this.#deps.rescanMs, failedPauseMs);
    }
  }

  /**
   * Sleeps until something wakes it, `pauseMs` are over, an upload ends or the inbox is made anew. While an upload runs only
   * an event counts: an index can be read ahead, everything else would have to be looked at again.
   */
  async #rest(pauseMs: number, signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    const until = clock.monotonic() + pauseMs;
    for (;;) {
      this.#beat();
      const left = until - clock.monotonic();
      const step = this.#uploading ? uploadPollMs : Math.min(quietPollMs, Math.max(left, 1));
      const woken = await this.#wake.wait((stop) => clock.sleep(step, { signal: AbortSignal.any([signal, stop]) }));
      signal.throwIfAborted();
      const before = this.#uploading;
      const place = await this.#seeUpload();
      const over = before && !this.#uploading;
      const early = woken ? this.#pacedUntil - clock.monotonic() : 0;
      if (early > 0) await clock.sleep(early, { signal });
      if (over || woken || place !== this.#place || (!this.#uploading && clock.monotonic() >= until)) return;
    }
  }

  /** One look at the inbox. Returns how long nothing needs to be done, in milliseconds. */
  async #pass(signal: AbortSignal): Promise<number> {
    await using inbox = await Inbox.open(this.#config.path);
    const announced = this.#announced;
    this.#announced = false;
    this.#place = inbox?.place ?? null;
    if (!inbox) return await this.#inboxAbsent();
    this.#missingLogged = false;
    const startedAt = this.#deps.clock.monotonic();
    await this.#seeUpload();
    this.#surveyedInUpload = this.#uploading;
    const survey = await findIndexes(inbox, this.#config.repositories, this.#config.quotas.maxRepositories);
    const surveyedAt = this.#deps.clock.monotonic();
    this.#pacedUntil = surveyedAt + Math.min(surveyedAt - startedAt, longestPaceMs);
    const newlyWatched = this.#deps.events.watch(survey.watchable.map((path) => join(this.#config.path, path)));
    await this.#readIndexes(inbox, survey.indexes, announced, signal);
    for (const candidate of this.#candidates.values()) if (await candidate.look(inbox)) this.#changed();
    for (const candidate of this.#replaced.splice(0)) await candidate.drop();
    if (this.#vanished.look(inbox.place, survey)) this.#changed();
    if (!this.#uploading && (await this.#scope.look(inbox, startedAt))) this.#changed();
    const problems = [...survey.problems.map(problemOf), ...this.#scope.assess()];
    const waiting = await this.#settleBatches(inbox, problems, signal);
    this.#deps.log.debug('inbox_looked', {
      builder: this.#config.builder,
      announced,
      indexes: survey.indexes.length,
      open: this.#candidates.size,
      waiting,
      uploading: this.#uploading,
    });
    const passMs = this.#deps.clock.monotonic() - startedAt;
    if (this.#surveyedInUpload && !this.#uploading) return 0;
    // A pass over a large, incomplete batch must not follow upon the last one at once.
    if (waiting) return Math.max(50, 4 * passMs, Math.min(500, this.#config.settleMs - this.#unchangedMs()));
    // What came between the look and the watch has woken nobody.
    if (newlyWatched) return Math.min(secondLookMs, this.#deps.rescanMs);
    // What completes a held batch comes without an event: only indexes are watched.
    if (this.#candidates.size > 0) return Math.min(Math.max(heldPauseMs, 20 * passMs), this.#deps.rescanMs);
    return this.#deps.rescanMs;
  }

  /** Brings the candidates in line with the indexes that lie there. */
  async #readIndexes(
    inbox: Inbox,
    found: readonly FoundIndex[],
    announced: boolean,
    signal: AbortSignal,
  ): Promise<void> {
    const deps = this.#candidateDeps(signal);
    let fresh = 0;
    for (const index of found) {
      const known = this.#candidates.get(index.path);
      const same = known?.stat === index.seen.stat;
      const settled = same && !known.unread && known.isJudgedBy(deps.keyring);
      if (settled || this.#published.get(index.path) === index.seen.stat) continue;
      if (!same) this.#changed();
      const candidate = await Candidate.read(inbox, index, deps);
      this.#deps.events.stage('verify', candidate.verifyMs / 1000);
      if (known) this.#replaced.push(known);
      this.#candidates.set(index.path, candidate);
      if (!same && !candidate.isPublished()) fresh++;
    }
    const there = new Set(found.map((index) => index.path));
    // What comes back is another upload, though it be the same file.
    for (const path of this.#published.keys()) if (!there.has(path)) this.#published.delete(path);
    for (const [path, candidate] of this.#candidates) {
      const gone = !there.has(path);
      if (gone || candidate.isComplete()) await this.#forget(candidate, !gone);
    }
    if (fresh > 0 && !announced) this.#deps.events.rescanFound(fresh);
  }

  /** Copies, publishes, holds, rejects. True when something still waits. */
  async #settleBatches(inbox: Inbox, problems: readonly Assessment[], signal: AbortSignal): Promise<boolean> {
    const first = planBatch(this.#assess(problems), await this.#facts());
    const startedAt = this.#deps.clock.monotonic();
    for (const { index } of first.publish) await this.#candidates.get(index)?.copy(inbox);
    const copyMs = this.#deps.clock.monotonic() - startedAt;
    if (first.publish.length > 0) this.#deps.events.stage('copy', copyMs / 1000);
    signal.throwIfAborted();
    const decision = planBatch(this.#assess(problems), await this.#facts());
    const copied = decision.publish.filter((a) => first.publish.some((b) => b.index === a.index));
    const waiting = [...decision.wait, ...decision.publish.filter((a) => !copied.includes(a))];
    // The keys have changed since it was judged: the next pass judges it anew.
    const keyring = this.#deps.keyring();
    if (copied.some((a) => this.#candidates.get(a.index)?.isJudgedBy(keyring) === false)) return true;
    this.#ledger.supersede([waiting, copied, decision.hold, decision.reject]);
    if (waiting.length > 0) this.#ledger.record('waiting', waiting, waiting.flatMap(reasonsOf));
    if (copied.length > 0) await this.#publish(copied, copyMs);
    if (decision.hold.length > 0) this.#ledger.end('held', decision.hold);
    if (decision.reject.length > 0) await this.#reject(decision.reject);
    return waiting.length > 0;
  }

  #assess(problems: readonly Assessment[]): Assessment[] {
    const open = [...this.#candidates.values()].filter((candidate) => !candidate.isPublished());
    const assessments = open.map((candidate) => candidate.assess());
    const demands = open.map((candidate) => candidate.demand);
    return [...applyQuotas(assessments, demands, this.#config), ...this.#vanished.assess(), ...problems];
  }

  async #publish(assessments: readonly Assessment[], copyMs: number): Promise<void> {
    const { clock, events, log } = this.#deps;
    const candidates = assessments.flatMap((a) => this.#candidates.get(a.index) ?? []);
    const reasons = assessments.flatMap(reasonsOf);
    const batch = this.#ledger.record('waiting', assessments, reasons);
    const startedAt = clock.monotonic();
    const settleMs = startedAt - this.#changedAt;
    let generation: Generation;
    try {
      const closing = { id: batch.id, builder: this.#config.builder };
      generation = await this.#deps.publish(closedBatch(closing, assessments, candidates, { settleMs, copyMs }));
    } catch (error) {
      await this.#publishFailed(candidates, error);
      return;
    }
    events.stage('publish', (clock.monotonic() - startedAt) / 1000);
    events.stage('settle', settleMs / 1000);
    events.batchEnded(this.#config.builder, 'published', reasons);
    log.info('batch_published', {
      batch: batch.id,
      builder: this.#config.builder,
      generation: generation.number,
      added: generation.added,
      removed: generation.removed,
      repositories: [...new Set(assessments.map((a) => a.repository))],
    });
    for (const candidate of candidates) await this.#forget(candidate, !candidate.hasMissing());
  }

  /** A full disk holds the batch; a candidate that was compared with an older state is read again; anything else is for the log. */
  async #publishFailed(candidates: readonly Candidate[], error: unknown): Promise<void> {
    if (isDiskFull(error)) {
      for (const candidate of candidates)
        candidate.blockByDisk(`cannot be published: ${messageOf(error)}: make room, the batch is tried again`);
      this.#ledger.end(
        'held',
        candidates.map((c) => c.assess()),
      );
    } else if (error instanceof OperationError && error.code === 'STATE') {
      for (const candidate of candidates) await this.#forget(candidate, false);
      this.#wake.wake();
    } else {
      throw error;
    }
  }

  async #reject(assessments: readonly Assessment[]): Promise<void> {
    const ended = this.#ledger.end('rejected', assessments);
    if (!ended.changed) return;
    const candidates = assessments.flatMap((a) => this.#candidates.get(a.index) ?? []);
    const batch = { id: ended.id, builder: this.#config.builder, reasons: assessments.flatMap(reasonsOf), candidates };
    await this.#deps.quarantine.keep(batch);
  }

  async #forget(candidate: Candidate, published: boolean): Promise<void> {
    if (published) this.#published.set(candidate.path, candidate.stat);
    this.#candidates.delete(candidate.path);
    await candidate.drop();
  }

  async #facts(): Promise<InboxFacts> {
    await this.#seeUpload();
    return {
      // What came after the survey is not known: the upload may have ended since, its batch is not the half that was seen.
      uploading: this.#uploading || this.#surveyedInUpload,
      settled: this.#unchangedMs() >= this.#config.settleMs,
      missingPackages: this.#config.missingPackages,
    };
  }

  /** Where the inbox is now; notes whether an upload holds its lock. */
  async #seeUpload(): Promise<string | null> {
    const { place, uploading } = await seeUpload(this.#config.path);
    if (uploading !== this.#uploading) this.#changed();
    this.#uploading = uploading;
    return place;
  }

  async #inboxAbsent(): Promise<number> {
    const { builder, path } = this.#config;
    const hint = 'create it for the upload account';
    if (!this.#missingLogged) this.#deps.log.warn('inbox_absent', { builder, path, hint });
    this.#missingLogged = true;
    for (const candidate of this.#candidates.values()) await this.#forget(candidate, false);
    this.#published.clear();
    this.#vanished.forget();
    this.#ledger.supersede([]);
    return this.#deps.rescanMs;
  }

  #candidateDeps(signal: AbortSignal): CandidateDeps {
    const { root, store, verifier, clock, reserveBytes } = this.#deps;
    return {
      inbox: this.#config,
      root,
      store,
      verifier,
      keyring: this.#deps.keyring(),
      clock,
      reserveBytes,
      signal,
      onProgress: () => this.#beat(),
    };
  }

  #beat(): void {
    this.#progressAt = this.#deps.clock.monotonic();
  }

  #changed(): void {
    this.#changedAt = this.#deps.clock.monotonic();
  }

  #unchangedMs(): number {
    return this.#deps.clock.monotonic() - this.#changedAt;
  }
}
