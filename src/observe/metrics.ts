/** Counts what the daemon does and renders it for Prometheus; the only file that knows prom-client. Decides no alarm: see config/prometheus. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { type PushFailureReason, pushFailureReasons, type VerificationCode, verificationCodes } from '../errors.ts';
import { type ArrivalOutcome, arrivalOutcomes } from './arrivals.ts';
import { HookSeries } from './hook-series.ts';
import { setKeyGauges, setScrubGauges } from './metric-values.ts';
import type { BlockedBy, Breaker } from '../replicate/mirror.ts';
import { type MirrorFacts, mirrorStates, observedLagSeconds, type StatusFacts, secondsSince } from './status.ts';

const batchOutcomes = ['published', 'held', 'rejected'] as const;
export type BatchOutcome = (typeof batchOutcomes)[number];
const pushOutcomes = ['ok', 'retryable', 'permanent', 'aborted'] as const;
export type PushOutcome = (typeof pushOutcomes)[number];
const announceOutcomes = ['ok', 'retryable', 'permanent'] as const;
const stages = ['settle', 'copy', 'verify', 'publish'] as const;
export type Stage = (typeof stages)[number];
const breakerStates: readonly Breaker[] = ['closed', 'half-open', 'open'];
const blockers: readonly BlockedBy[] = ['permanent', 'security', 'operator'];
const pendingStates = ['waiting', 'held'] as const;

/** The names that series are made for; calls about any other are dropped, so a late worker cannot bring a removed one back. */
export interface MetricTargets {
  readonly builders: readonly string[];
  readonly mirrors: readonly string[];
  readonly brokers?: readonly string[];
  readonly hooks?: readonly string[];
}

export interface ProbeOutcome {
  readonly success: boolean;
  readonly durationSeconds: number;
  readonly clockSkewSeconds: number | null;
}

// Templates such as staging/*/*/{arch} have no natural bound; the largest real repository has some hundred.
const maxRepositories = 1000;

// Gauges that prom-client names like counters (`_total`), which `promtool check metrics` refuses.
const misnamed = ['nodejs_active_handles_total', 'nodejs_active_requests_total', 'nodejs_active_resources_total'];

/** All metrics of one daemon on a registry of their own. Every counter exists with 0 for each label value from the start. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #count = counters(this.#registry);
  readonly #now = gauges(this.#registry);
  readonly #time = histograms(this.#registry);
  readonly hooks = new HookSeries({
    runs: this.#count.hookRuns,
    dropped: this.#count.hookDropped,
    seconds: this.#time.hook,
    pending: this.#now.hookPending,
  });
  #targets: Required<Omit<MetricTargets, 'hooks'>> = { builders: [], mirrors: [], brokers: [] };

  constructor(options: MetricTargets & { readonly version: string }) {
    collectDefaultMetrics({ register: this.#registry });
    for (const name of misnamed) this.#registry.removeSingleMetric(name);
    this.#now.buildInfo.set({ version: options.version, node: process.versions.node }, 1);
    this.#now.configReload.set(1);
    for (const stage of stages) this.#time.stage.zero({ stage });
    this.setTargets(options);
  }

  /** After a reload: series of builders and mirrors that are gone are removed, those of new ones start at 0. */
  setTargets({ builders, mirrors, brokers = [], hooks = [] }: MetricTargets): void {
    for (const builder of this.#targets.builders) if (!builders.includes(builder)) this.#dropBuilder(builder);
    for (const mirror of this.#targets.mirrors) if (!mirrors.includes(mirror)) this.#dropMirror(mirror);
    for (const builder of builders) {
      for (const outcome of batchOutcomes) this.#count.batches.inc({ builder, outcome }, 0);
      for (const reason of verificationCodes) this.#count.rejections.inc({ builder, reason }, 0);
    }
    for (const mirror of mirrors) {
      for (const outcome of pushOutcomes) this.#count.attempts.inc({ mirror, outcome }, 0);
      for (const reason of pushFailureReasons) this.#count.failures.inc({ mirror, reason }, 0);
      for (const outcome of arrivalOutcomes) this.#count.arrivals.inc({ mirror, outcome }, 0);
      this.#count.bytes.inc({ mirror }, 0);
      if (!this.#targets.mirrors.includes(mirror)) this.#time.propagation.zero({ mirror });
    }
    const gone = this.#targets.brokers.filter((broker) => !brokers.includes(broker));
    for (const outcome of announceOutcomes) {
      for (const broker of gone) this.#count.announced.remove({ broker, outcome });
      for (const broker of brokers) this.#count.announced.inc({ broker, outcome }, 0);
    }
    this.hooks.setTargets(hooks);
    this.#targets = { builders: [...builders], mirrors: [...mirrors], brokers: [...brokers] };
  }

  /** A batch reached a state; each distinct reason of a held or rejected one counts once. */
  batchEnded(builder: string, outcome: BatchOutcome, reasons: readonly VerificationCode[]): void {
    if (!this.#targets.builders.includes(builder)) return;
    this.#count.batches.inc({ builder, outcome });
    if (outcome === 'published') return;
    for (const reason of new Set(reasons)) this.#count.rejections.inc({ builder, reason });
  }

  stage(stage: Stage, seconds: number): void {
    this.#time.stage.observe({ stage }, seconds);
  }

  pushAttempt(mirror: string, outcome: PushOutcome): void {
    if (this.#targets.mirrors.includes(mirror)) this.#count.attempts.inc({ mirror, outcome });
  }

  pushFailed(mirror: string, reason: PushFailureReason): void {
    if (this.#targets.mirrors.includes(mirror)) this.#count.failures.inc({ mirror, reason });
  }

  /** A broker was told of a generation, or could not be. */
  announced(broker: string, outcome: (typeof announceOutcomes)[number]): void {
    if (this.#targets.brokers.includes(broker)) this.#count.announced.inc({ broker, outcome });
  }

  /** Payload bytes that went out to the mirror. */
  pushedBytes(mirror: string, bytes: number): void {
    if (this.#targets.mirrors.includes(mirror)) this.#count.bytes.inc({ mirror }, bytes);
  }

  /** A mirror was confirmed to hold a generation `seconds` after it was published. */
  propagated(mirror: string, seconds: number): void {
    if (this.#targets.mirrors.includes(mirror)) this.#time.propagation.observe({ mirror }, seconds);
  }

  /** It is known whether the mirror had a generation in time. */
  arrived(mirror: string, outcome: ArrivalOutcome): void {
    if (this.#targets.mirrors.includes(mirror)) this.#count.arrivals.inc({ mirror, outcome });
  }

  /** The rescan found `count` changed indexes of which the watcher had said nothing. */
  rescanFound(count: number): void {
    this.#count.rescanFound.inc(count);
  }

  probed(mirror: string, outcome: ProbeOutcome): void {
    if (!this.#targets.mirrors.includes(mirror)) return;
    this.#now.probeSuccess.set({ mirror }, outcome.success ? 1 : 0);
    this.#now.probeDuration.set({ mirror }, outcome.durationSeconds);
    if (outcome.clockSkewSeconds !== null) this.#now.probeSkew.set({ mirror }, outcome.clockSkewSeconds);
  }

  /** The mirror is not looked at any more, or elsewhere. */
  unprobed(mirror: string): void {
    for (const gauge of [this.#now.probeSuccess, this.#now.probeDuration, this.#now.probeSkew]) {
      gauge.remove({ mirror });
    }
  }

  /** The configuration was read at `atMs`, and is in use when that went well. */
  configReload(ok: boolean, atMs: number): void {
    this.#now.configReload.set(ok ? 1 : 0);
    if (ok) this.#now.configReloadedAt.set(atMs / 1000);
  }

  /** The text for a scrape at `nowMs`. Everything that ages is computed here, from the facts; `free` is in bytes. */
  async render(facts: StatusFacts, nowMs: number, free: Readonly<Record<'root' | 'state', number>>): Promise<string> {
    this.#setPublished(facts);
    this.#setMirrors(facts, nowMs);
    this.#now.free.set({ filesystem: 'root' }, free.root);
    this.#now.free.set({ filesystem: 'state' }, free.state);
    return this.#registry.metrics();
  }

  #setPublished(facts: StatusFacts): void {
    this.#now.generation.set(facts.generation);
    this.#now.publishedAt.set((facts.publishedAtMs ?? 0) / 1000);
    this.#now.packages.reset();
    for (const { path, packages } of facts.repositories.slice(0, maxRepositories)) {
      // A directory with two indexes counts the packages of both.
      this.#now.packages.inc({ repository: path }, packages);
    }
    this.#now.stateWritable.set(facts.stateProblem === null ? 1 : 0);
    setKeyGauges(this.#now, facts, { builders: this.#targets.builders, maxRepositories });
    setScrubGauges(this.#now, facts, this.#targets.mirrors);
    this.hooks.render(facts.hooks ?? []);
    this.#now.announcedGeneration.reset();
    for (const { name, generation } of facts.announcements) {
      this.#now.announcedGeneration.set({ broker: name }, generation ?? 0);
    }
    this.#now.pending.reset();
    for (const builder of this.#targets.builders) {
      for (const state of pendingStates) {
        const pending = facts.batches.filter((batch) => batch.builder === builder && batch.state === state);
        this.#now.pending.set({ builder, state }, pending.length);
      }
    }
  }

  #setMirrors(facts: StatusFacts, nowMs: number): void {
    const { mirrorGeneration, lag, behind, behindSince, state, breaker, blocked, unknown, takenOver } = this.#now;
    const perMirror = [mirrorGeneration, lag, behind, behindSince, state, breaker, blocked, unknown, takenOver];
    for (const gauge of perMirror) gauge.reset();
    this.#setSyncs(facts);
    for (const mirror of facts.mirrors) {
      const pushed = { mirror: mirror.name, view: 'pushed' };
      for (const each of mirrorStates) state.set({ mirror: mirror.name, state: each }, mirror.state === each ? 1 : 0);
      breaker.set({ mirror: mirror.name }, breakerStates.indexOf(mirror.breaker));
      for (const by of blockers) blocked.set({ mirror: mirror.name, by }, mirror.blockedBy === by ? 1 : 0);
      if (mirror.takeoverAfterMs != null) takenOver.set({ mirror: mirror.name }, mirror.takenOverAtMs == null ? 0 : 1);
      lag.set(pushed, secondsSince(mirror.pushedMissingSinceMs, nowMs));
      behindSince.set(pushed, (mirror.pushedMissingSinceMs ?? 0) / 1000);
      if (mirror.generation !== null) {
        mirrorGeneration.set({ mirror: mirror.name }, mirror.generation);
        behind.set(pushed, Math.max(0, facts.generation - mirror.generation));
      }
      this.#setObserved(mirror, facts.generation, nowMs);
    }
  }

  #setSyncs({ mirrors }: StatusFacts): void {
    const { syncPeriod, nextSync, syncOverdue } = this.#now;
    for (const gauge of [syncPeriod, nextSync, syncOverdue]) gauge.reset();
    for (const { name: mirror, sync } of mirrors) {
      if (sync === null) continue;
      syncPeriod.set({ mirror }, sync.periodMs / 1000);
      nextSync.set({ mirror }, sync.nextMs / 1000);
      syncOverdue.set({ mirror }, sync.overdue ? 1 : 0);
    }
  }

  /** What was never seen has no series: a 0 would read as "in step". */
  #setObserved(mirror: MirrorFacts, newest: number, nowMs: number): void {
    if (mirror.observedAtMs === null) return;
    const observed = { mirror: mirror.name, view: 'observed' };
    this.#now.unknown.set({ mirror: mirror.name }, mirror.observedUnknownContent ? 1 : 0);
    const lagSeconds = observedLagSeconds(mirror, nowMs);
    if (lagSeconds === null || mirror.observedGeneration === null) return;
    this.#now.lag.set(observed, lagSeconds);
    this.#now.behind.set(observed, Math.max(0, newest - mirror.observedGeneration));
    this.#now.behindSince.set(observed, (mirror.observedMissingSinceMs ?? 0) / 1000);
  }

  #dropBuilder(builder: string): void {
    for (const outcome of batchOutcomes) this.#count.batches.remove({ builder, outcome });
    for (const reason of verificationCodes) this.#count.rejections.remove({ builder, reason });
  }

  #dropMirror(mirror: string): void {
    for (const outcome of pushOutcomes) this.#count.attempts.remove({ mirror, outcome });
    for (const reason of pushFailureReasons) this.#count.failures.remove({ mirror, reason });
    for (const outcome of arrivalOutcomes) this.#count.arrivals.remove({ mirror, outcome });
    this.#count.bytes.remove({ mirror });
    this.#time.propagation.remove({ mirror });
    this.unprobed(mirror);
  }
}

function counters(registry: Registry) {
  const make = <L extends string>(name: string, help: string, labelNames: readonly L[]): Counter<L> =>
    new Counter({ name: `lockstep_${name}`, help, labelNames: [...labelNames], registers: [registry] });
  return {
    batches: make('batches_total', 'Batches by how they ended.', ['builder', 'outcome']),
    rejections: make('batch_rejections_total', 'Batches held or rejected, by reason.', ['builder', 'reason']),
    attempts: make('push_attempts_total', 'Push attempts by outcome.', ['mirror', 'outcome']),
    failures: make('push_failures_total', 'Failed push attempts by reason.', ['mirror', 'reason']),
    arrivals: make('mirror_generations_total', 'Generations by whether the mirror had them within 15 minutes.', [
      'mirror',
      'outcome',
    ]),
    bytes: make('push_bytes_total', 'Payload bytes pushed.', ['mirror']),
    announced: make('announce_total', 'Announcements by outcome.', ['broker', 'outcome']),
    hookRuns: make('hook_runs_total', 'Runs of hooks by outcome.', ['hook', 'outcome']),
    hookDropped: make('hook_events_dropped_total', 'Events that the hook has missed: too many waited.', ['hook']),
    rescanFound: make('watch_rescan_found_total', 'Changes found by the rescan that the watcher missed.', []),
  };
}

function gauges(registry: Registry) {
  const make = <L extends string>(name: string, help: string, labelNames: readonly L[] = []): Gauge<L> =>
    new Gauge({ name: `lockstep_${name}`, help, labelNames: [...labelNames], registers: [registry] });
  const viewed = ['mirror', 'view'] as const;
  return {
    buildInfo: make('build_info', 'Always 1; the labels tell the version.', ['version', 'node']),
    configReload: make('config_last_reload_successful', '1 when the last configuration that was read is in use.'),
    configReloadedAt: make('config_last_reload_success_timestamp_seconds', 'When the configuration in use was read.'),
    generation: make('published_generation', 'The newest published generation.'),
    publishedAt: make('published_timestamp_seconds', 'When the newest generation was published; 0 for never.'),
    packages: make('index_packages', 'Packages that the published index names.', ['repository']),
    keyUntrusted: make('index_key_untrusted', '1 when the key of the published index is not trusted any more.', [
      'repository',
    ]),
    keysUnusable: make('keys_unusable', 'Key files and directories of the inbox that cannot be used.', ['builder']),
    stateWritable: make('state_writable', '0 while state.db cannot be written: nothing is published then.'),
    pending: make('batches_pending', 'Batches that wait for their upload or for a person.', ['builder', 'state']),
    scrubbedAt: make('scrub_last_run_timestamp_seconds', 'When the last scrub ended; 0 for never.'),
    scrubRunning: make('scrub_running', '1 while a scrub runs.'),
    scrubFiles: make('scrub_files', 'Files of the primary in the scrub that runs, or else the last one.', ['outcome']),
    scrubBytes: make('scrub_bytes', 'Bytes of the primary read by the scrub that runs, or else the last one.'),
    damaged: make('damaged_files', 'Published files whose bytes are wrong and of which no good copy was found.'),
    drift: make('mirror_drift_files', 'Files that the last scrub found missing or different at the mirror.', [
      'mirror',
      'outcome',
    ]),
    free: make('filesystem_free_bytes', 'Bytes that the daemon may still write.', ['filesystem']),
    hookPending: make('hook_events_pending', 'Events that the hook is still to be told of.', ['hook']),
    announcedGeneration: make('announced_generation', 'Generation that the broker was last told of; 0 for none.', [
      'broker',
    ]),
    mirrorGeneration: make('mirror_generation', 'Generation that the mirror was confirmed to hold.', ['mirror']),
    lag: make('mirror_lag_seconds', 'Age of the first generation that the mirror lacks; 0 in step.', viewed),
    behind: make('mirror_generations_behind', 'Generations that the mirror lacks.', viewed),
    behindSince: make(
      'mirror_behind_since_timestamp_seconds',
      'Publish time of the first generation that the mirror lacks; 0 in step.',
      viewed,
    ),
    state: make('mirror_state', '1 for the state that the mirror is in.', ['mirror', 'state']),
    breaker: make('mirror_breaker_state', '0 closed, 1 half-open, 2 open: no whole push is tried.', ['mirror']),
    blocked: make('mirror_blocked', '1 when no push is tried before a person has done something.', ['mirror', 'by']),
    takenOver: make('mirror_taken_over', '1 while this primary serves the mirror in place of its first.', ['mirror']),
    syncPeriod: make('mirror_sync_period_seconds', 'How often a mirror that pulls seems to do so.', ['mirror']),
    nextSync: make('mirror_next_sync_timestamp_seconds', 'When a mirror that pulls is expected to do so next.', [
      'mirror',
    ]),
    syncOverdue: make('mirror_sync_overdue', '1 when a mirror that pulls has lacked something for two periods.', [
      'mirror',
    ]),
    unknown: make('mirror_content_unknown', '1 when the mirror serves an index never published here.', ['mirror']),
    probeSuccess: make('probe_success', '1 when the last probe of the mirror was answered.', ['mirror']),
    probeDuration: make('probe_duration_seconds', 'How long the last probe took.', ['mirror']),
    probeSkew: make('mirror_clock_skew_seconds', "The mirror's clock minus ours.", ['mirror']),
  };
}

function histograms(registry: Registry) {
  const make = <L extends string>(name: string, help: string, label: L, buckets: number[]): Histogram<L> =>
    new Histogram({ name: `lockstep_${name}`, help, labelNames: [label], buckets, registers: [registry] });
  const short = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600];
  const long = [0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 900, 1800, 3600, 21_600];
  return {
    stage: make('stage_seconds', 'Time that a batch spent in a stage.', 'stage', short),
    hook: make('hook_seconds', 'How long a hook ran.', 'hook', short),
    propagation: make('propagation_seconds', 'From publishing to confirmed on the mirror.', 'mirror', long),
  };
}
