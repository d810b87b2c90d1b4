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
import { inPieces } from '../system/pieces.ts';
import { removeTree } from '../system/remove-tree.ts';
import { type Assessment, type InboxFacts, planBatch, reasonsOf } from './batch.ts';
import { Candidate } from './candidate.ts';
import { closedBatch } from './closed.ts';
import { Glance } from './glance.ts';
import type { FoundIndex } from './indexes.ts';
import { Ledger } from './ledger.ts';
import { Lookout } from './lookout.ts';
import { type CandidateDeps, isDiskFull } from './packages.ts';
import { restAfter } from './pace.ts';
import type { IngestDeps, OpenInbox } from './ports.ts';
import { applyQuotas } from './quotas.ts';
import { RetiredCandidates } from './retired.ts';
import { problemOf, ScopeWatch } from './scope.ts';
import { Surveyor } from './surveyor.ts';
import { type UpstreamStatement, UpstreamTrace } from './upstream.ts';
import { VanishedIndexes } from './vanished.ts';
import { Inbox } from './walk.ts';

const failedPauseMs = 5000;

export class InboxService {
  readonly #config: InboxConfig;
  readonly #deps: IngestDeps;
  readonly #ledger: Ledger;
  readonly #lookout: Lookout;
  readonly #surveyor: Surveyor;
  readonly #candidates = new Map<string, Candidate>();
  readonly #vanished: VanishedIndexes;
  readonly #scope: ScopeWatch;
  readonly #upstream: UpstreamTrace;
  /** Index files that are known to be published, by path: the value of stat then. */
  readonly #published = new Map<string, string>();
  /** The last look at the inbox was taken while an upload ran. */
  #surveyedInUpload = false;
  #missingLogged = false;
  readonly #retired: RetiredCandidates;
  readonly #glance: Glance;
  /** Candidates that have a successor, until it has taken over what they have copied. */
  readonly #replaced: Candidate[] = [];
  /** Device and inode of the inbox that was looked at last; null when there was none. */
  #place: string | null = null;

  constructor(config: InboxConfig, deps: IngestDeps) {
    this.#config = config;
    this.#deps = deps;
    this.#lookout = new Lookout(config.path, deps.clock);
    this.#surveyor = new Surveyor({ ...config, ...config.quotas, clock: deps.clock, rescanMs: deps.rescanMs });
    this.#retired = new RetiredCandidates(deps.clock);
    this.#glance = new Glance(config.path, deps.clock);
    this.#ledger = new Ledger(config.builder, { ...deps, batches: deps.store.batches });
    this.#vanished = new VanishedIndexes(config, deps);
    this.#scope = new ScopeWatch(config, deps.rescanMs);
    this.#upstream = new UpstreamTrace(config, deps.store.generations);
  }

  /** When the loop last got anywhere, on the monotonic clock: proof of life. */
  get progressAt(): number {
    return this.#lookout.progressAt;
  }

  /** What is open: indexes that are not published, and served ones that vanished from the inbox. */
  get open(): OpenInbox {
    const candidate = (path: string): Candidate | null => {
      const found = this.#candidates.get(path);
      return found === undefined || found.isPublished() ? null : found;
    };
    return { candidate, assess: (path) => candidate(path)?.assess() ?? this.#vanished.assessOne(path) };
  }

  /** What the upstream of this inbox says of what it brought last; null for a builder's. */
  get upstream(): UpstreamStatement | null {
    return this.#upstream.statement;
  }

  /** Something may have happened: look soon. */
  wake(): void {
    this.#lookout.wake();
  }

  /** What is served has changed otherwise than by this inbox: look at every index anew. */
  reconsider(): void {
    this.#published.clear();
    this.wake();
  }

  /** Runs until aborted. A pass that fails is logged and tried again; the public tree is not touched by a failure. */
  async run(signal: AbortSignal): Promise<void> {
    const copies = join(this.#deps.root, 'ingest', this.#config.builder);
    await removeTree(copies);
    await mkdir(copies, { recursive: true, mode: 0o700 });
    try {
      for (;;) {
        signal.throwIfAborted();
        const pauseMs = await this.#passOrPause(signal);
        // Not only while it rests: builders that never pause leave no rest.
        await this.#retired.dropDue();
        const [place, isOpen] = [this.#place, this.#candidates.size > 0];
        await this.#lookout.rest({ pauseMs, isOpen, place, meanwhile: () => this.#meanwhile() }, signal);
      }
    } finally {
      const ids = [...this.#candidates.values(), ...this.#replaced].map((candidate) => candidate.id);
      for (const id of [...ids, ...this.#retired.ids]) await inPieces(this.#deps.store.staging.drop(id));
    }
  }

  async #meanwhile(): Promise<boolean> {
    await this.#retired.dropDue();
    return this.#glance.changed();
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

  /** One look at the inbox. Returns how long nothing needs to be done, in milliseconds. */
  async #pass(signal: AbortSignal): Promise<number> {
    await using inbox = await Inbox.open(this.#config.path);
    const announced = this.#lookout.takeAnnounced();
    this.#place = inbox?.place ?? null;
    if (!inbox) return await this.#inboxAbsent();
    this.#missingLogged = false;
    const startedAt = this.#deps.clock.monotonic();
    await this.#lookout.seeUpload();
    this.#surveyedInUpload = this.#lookout.uploading;
    const survey = await this.#surveyor.survey(inbox);
    const trace = await this.#upstream.look(inbox);
    this.#lookout.pace(this.#deps.clock.monotonic() - startedAt);
    this.#glance.set([
      ...survey.indexes.map(({ path, seen }) => ({ path, stat: seen.stat })),
      ...survey.absent.map((path) => ({ path, stat: 'absent' })),
      ...trace,
    ]);
    const watchable = [...survey.watchable, ...trace.map(({ path }) => path)];
    const newlyWatched = this.#deps.events.watch(watchable.map((path) => join(this.#config.path, path)));
    await this.#readIndexes(inbox, survey.indexes, announced, signal);
    for (const candidate of this.#candidates.values()) if (await candidate.look(inbox)) this.#lookout.changed();
    for (const candidate of this.#replaced.splice(0)) await candidate.drop();
    if (this.#vanished.look(inbox.place, survey)) this.#lookout.changed();
    if (!this.#lookout.uploading && (await this.#scope.look(inbox, startedAt))) this.#lookout.changed();
    const problems = [...survey.problems.map(problemOf), ...this.#scope.assess()];
    const waiting = await this.#settleBatches(inbox, problems, signal);
    this.#deps.log.debug('inbox_looked', {
      builder: this.#config.builder,
      announced,
      indexes: survey.indexes.length,
      open: this.#candidates.size,
      waiting,
      uploading: this.#lookout.uploading,
    });
    return restAfter({
      uploadEnded: this.#surveyedInUpload && !this.#lookout.uploading,
      waiting,
      newlyWatched,
      open: this.#candidates.size,
      passMs: this.#deps.clock.monotonic() - startedAt,
      settlesInMs: this.#config.settleMs - this.#lookout.unchangedMs,
      rescanMs: this.#deps.rescanMs,
    });
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
      if (!same) this.#lookout.changed();
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
      if (gone || candidate.isComplete()) this.#forget(candidate, !gone);
    }
    if (fresh > 0 && !announced) this.#deps.events.rescanFound(fresh);
  }

  /** Copies, publishes, holds, rejects. True when something still waits. */
  async #settleBatches(inbox: Inbox, problems: readonly Assessment[], signal: AbortSignal): Promise<boolean> {
    const open = this.#assess(problems);
    const first = planBatch(open, await this.#facts(open));
    const startedAt = this.#deps.clock.monotonic();
    for (const { index } of first.publish) await this.#candidates.get(index)?.copy(inbox);
    const copyMs = this.#deps.clock.monotonic() - startedAt;
    if (first.publish.length > 0) this.#deps.events.stage('copy', copyMs / 1000);
    signal.throwIfAborted();
    const assessed = this.#assess(problems);
    const decision = planBatch(assessed, await this.#facts(assessed));
    const copied = decision.publish.filter(
      ({ index }) =>
        first.publish.some((one) => one.index === index) && this.#candidates.get(index)?.hasUncopied() !== true,
    );
    const waiting = [...decision.wait, ...decision.publish.filter((a) => !copied.includes(a))];
    // The keys have changed since it was judged: the next pass judges it anew.
    const keyring = this.#deps.keyring();
    if (copied.some((a) => this.#candidates.get(a.index)?.isJudgedBy(keyring) === false)) return true;
    this.#ledger.supersede([waiting, copied, decision.hold, decision.reject]);
    if (waiting.length > 0) this.#ledger.record('waiting', waiting, waiting.flatMap(reasonsOf));
    // Before what takes long: until it is written down, the status tells of no batch that is held.
    if (decision.hold.length > 0) this.#ledger.end('held', decision.hold);
    if (copied.length > 0) await this.#publish(copied, copyMs);
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
    const settleMs = this.#lookout.unchangedMs;
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
    for (const candidate of candidates) this.#forget(candidate, !candidate.hasMissing());
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
      for (const candidate of candidates) this.#forget(candidate, false);
      this.#lookout.wake(false);
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

  #forget(candidate: Candidate, published: boolean): void {
    if (published) this.#published.set(candidate.path, candidate.stat);
    this.#candidates.delete(candidate.path);
    this.#retired.add(candidate);
  }

  async #facts(open: readonly Assessment[]): Promise<InboxFacts> {
    await this.#lookout.seeUpload();
    return {
      // What came after the survey is not known: the upload may have ended since, its batch is not the half that was seen.
      uploading: this.#lookout.uploading || this.#surveyedInUpload,
      settled: this.#lookout.unchangedMs >= this.#config.settleMs,
      whole: this.#upstream.isWhole(open),
      missingPackages: this.#config.missingPackages,
    };
  }

  async #inboxAbsent(): Promise<number> {
    const { builder, path } = this.#config;
    const hint = 'create it for the upload account';
    if (!this.#missingLogged) this.#deps.log.warn('inbox_absent', { builder, path, hint });
    this.#missingLogged = true;
    for (const candidate of this.#candidates.values()) this.#forget(candidate, false);
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
      onProgress: () => this.#lookout.beat(),
    };
  }
}
