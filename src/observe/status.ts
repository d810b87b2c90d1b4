/** Decides what is told about the daemon's state: facts from the store in, `/status.json` out. Reads and sends nothing. */
import type { PushFailureReason } from '../errors.ts';
import type { KeyState } from '../config/key-scope.ts';
import type { BlockedBy, Breaker, WaitReason } from '../replicate/mirror.ts';
import type { PushProgress } from '../replicate/push-progress.ts';
import type { BatchState, Reason } from '../store/batches.ts';
import { type AnnouncementStatus, announcementView, type BrokerFacts } from './announcements.ts';
import { type ConfigFacts, type ConfigStatus, configView } from './config.ts';
import { type HookFacts, type HookStatus, hookView } from './hooks.ts';
import type { SyncEstimate } from './period.ts';
import { type PushProgressView, pushProgressView } from './progress.ts';
import type { ScrubStatus } from './scrub.ts';
import { type SwitchStatus, type SwitchView, switchView } from './switch.ts';
import { type UpstreamFacts, type UpstreamStatus, upstreamView } from './upstreams.ts';
import { toInstant } from '../system/instant.ts';
import type { Unanswered } from './unanswered.ts';

export const mirrorStates = ['in-sync', 'behind', 'pushing', 'waiting', 'blocked', 'unknown'] as const;
export type MirrorState = (typeof mirrorStates)[number];

/** What the daemon knows at one moment. All times are milliseconds since the epoch, UTC. */
export interface StatusFacts {
  /** The newest published generation; 0 when nothing was published yet. */
  readonly generation: number;
  readonly publishedAtMs: number | null;
  readonly repositories: readonly RepositoryFacts[];
  readonly mirrors: readonly MirrorFacts[];
  readonly announcements: readonly BrokerFacts[];
  readonly hooks?: readonly HookFacts[];
  readonly upstreams: readonly UpstreamFacts[];
  /** How the newest generation goes out where mirrors switch together; null or absent: each by itself. */
  readonly switching?: SwitchStatus | null;
  readonly batches: readonly BatchFacts[];
  readonly keyProblems: readonly KeyProblemFacts[];
  /** Why state.db cannot be written; null when it can. */
  readonly stateProblem: string | null;
  readonly scrub: ScrubStatus;
  readonly config?: ConfigFacts;
}

/** A key file or directory of an inbox that cannot be used. */
export interface KeyProblemFacts {
  readonly builder: string;
  readonly path: string;
  readonly detail: string;
}

interface RepositoryFacts {
  readonly path: string;
  /** The name of the index; a directory that has two is here twice. */
  readonly index: string;
  /** The generation that published the present index. */
  readonly generation: number;
  readonly indexSha256: string;
  readonly packages: number;
  readonly builder: string;
  readonly signedBy: string;
  /** The key's fingerprint, null when it was not noted. */
  readonly signedKey: string | null;
  /** What would be said of the index's key today. */
  readonly keyState: KeyState;
}

export interface MirrorFacts {
  readonly name: string;
  readonly transport: string;
  readonly state: MirrorState;
  /** The newest generation that the mirror was confirmed to hold; null when that is not known. */
  readonly generation: number | null;
  /** Publish time of the first generation that the mirror was not yet confirmed to hold; null when it holds the newest. */
  readonly pushedMissingSinceMs: number | null;
  /** The newest generation that the mirror was seen to serve; null when unknown content hides it. */
  readonly observedGeneration: number | null;
  /** Publish time of the first generation that the mirror does not serve; null when it serves the newest. */
  readonly observedMissingSinceMs: number | null;
  /** Time of the last answered probe; null when there was none or the mirror has no URL. */
  readonly observedAtMs: number | null;
  /** True when the mirror serves an index that was never published. */
  readonly observedUnknownContent: boolean;
  readonly lastSuccessAtMs: number | null;
  readonly nextAttemptAtMs: number | null;
  /** Why the next try is not now. */
  readonly waitsFor: WaitReason | 'standby' | 'together' | null;
  /** Another primary serves it first, and we when users lack something for longer; null or absent: we are its primary. */
  readonly takeoverAfterMs?: number | null;
  /** Since when we serve it in place of the other; null or absent: we do not. */
  readonly takenOverAtMs?: number | null;
  readonly breaker: Breaker;
  readonly blockedBy: BlockedBy | null;
  /** Why a person blocked it. */
  readonly blockNote: string | null;
  readonly lastError: { readonly reason: PushFailureReason; readonly message: string } | null;
  readonly url: string | null;
  /** The mirror's clock minus ours; null or absent when it never told. Nothing is computed from it. */
  readonly clockSkewSeconds?: number | null;
  /** Null or absent: the last probe was answered, or there was none. */
  readonly unanswered?: Unanswered | null;
  /** Of a mirror that pulls when it likes: how often it seems to; null while that is not known. */
  readonly sync: SyncEstimate | null;
  /** How far a push is that fills the mirror; null or absent: none such runs. */
  readonly pushProgress?: PushProgress | null;
}

export interface BatchFacts {
  readonly id: string;
  readonly builder: string;
  readonly state: BatchState;
  readonly generation: number | null;
  readonly updatedAtMs: number;
  readonly reasons: readonly Reason[];
}

/** `/status.json`, version 1 (public API: fields are added, never renamed). Instants are RFC 3339 in UTC. */
export interface Status {
  readonly version: 1;
  readonly generation: number;
  readonly published_at: string | null;
  readonly repositories: readonly RepositoryStatus[];
  readonly mirrors: readonly MirrorStatus[];
  /** The MQTT brokers that are told of each generation. */
  readonly announcements: readonly AnnouncementStatus[];
  /** The programs that are run when something happens. */
  readonly hooks: readonly HookStatus[];
  /** The inboxes that another lockstepd feeds. */
  readonly upstreams: readonly UpstreamStatus[];
  /** How the newest generation goes out where mirrors switch together; null: each by itself. */
  readonly switch: SwitchView | null;
  /** The most recently changed first. */
  readonly batches: readonly BatchStatus[];
  readonly key_problems: readonly KeyProblemFacts[];
  /** Why state.db cannot be written, and so nothing be published; null when it can. */
  readonly state_problem: string | null;
  readonly scrub: ScrubStatus;
  /** The configuration in use; null while it is not known. */
  readonly config: ConfigStatus | null;
}

export interface RepositoryStatus {
  readonly path: string;
  readonly index: string;
  readonly generation: number;
  readonly index_sha256: string;
  readonly packages: number;
  readonly builder: string;
  readonly signed_by: string;
  /** Hex SHA-256 of the key's SubjectPublicKeyInfo. */
  readonly signed_key: string | null;
  readonly key_state: KeyState;
}

export interface MirrorStatus {
  readonly name: string;
  readonly transport: string;
  readonly url: string | null;
  readonly state: MirrorState;
  readonly generation: number | null;
  readonly lag_seconds: number;
  readonly observed_generation: number | null;
  readonly observed_lag_seconds: number | null;
  readonly observed_at: string | null;
  readonly observed_unknown_content: boolean;
  /** For how long no probe was answered, and why the last one was not; null: it was, or there was none. */
  readonly unanswered_seconds: number | null;
  readonly observed_error: string | null;
  readonly last_success_at: string | null;
  readonly next_attempt_at: string | null;
  /**
   * `back-off`, `busy`, `disk-full`, `quiet`, `pace` or `asked` while the state is `waiting`; `standby` while another primary
   * serves it; `together` while its packages are there and its indexes wait for the other mirrors.
   */
  readonly waits_for: WaitReason | 'standby' | 'together' | null;
  /** Null: it has no other primary. */
  readonly takeover_after_seconds: number | null;
  /** Since when we serve it in place of its first primary. */
  readonly taken_over_since: string | null;
  /** `permanent` or `security` (of a failure that needs a person), or `operator`. */
  readonly blocked_by: BlockedBy | null;
  readonly last_error: string | null;
  /** The mirror's clock minus ours. */
  readonly clock_skew_seconds: number | null;
  readonly sync_period_seconds: number | null;
  readonly next_sync_at: string | null;
  /** True when a mirror that pulls has lacked something for more than two of its periods. */
  readonly sync_overdue: boolean;
  /** How far a push is that looks at everything the mirror holds, as the first one does; null or absent: none such runs. */
  readonly push_progress?: PushProgressView | null;
}

export interface BatchStatus {
  readonly id: string;
  readonly builder: string;
  readonly state: BatchState;
  readonly generation: number | null;
  readonly updated_at: string;
  readonly reasons: readonly Reason[];
}

/** The facts as `/status.json` tells them, seen at `nowMs`. */
export function statusView(facts: StatusFacts, nowMs: number): Status {
  return {
    version: 1,
    generation: facts.generation,
    published_at: instant(facts.publishedAtMs),
    repositories: facts.repositories.map((r) => ({
      path: r.path,
      index: r.index,
      generation: r.generation,
      index_sha256: r.indexSha256,
      packages: r.packages,
      builder: r.builder,
      signed_by: r.signedBy,
      signed_key: r.signedKey,
      key_state: r.keyState,
    })),
    mirrors: facts.mirrors.map((m) => mirrorView(m, nowMs)),
    announcements: facts.announcements.map((broker) => announcementView(broker, instant)),
    hooks: (facts.hooks ?? []).map((hook) => hookView(hook, instant)),
    upstreams: facts.upstreams.map((upstream) => upstreamView(upstream, instant)),
    switch: switchView(facts.switching ?? null, instant),
    batches: facts.batches.toSorted((a, b) => b.updatedAtMs - a.updatedAtMs).map(batchView),
    key_problems: facts.keyProblems.map(({ builder, path, detail }) => ({ builder, path, detail })),
    state_problem: facts.stateProblem,
    config: facts.config ? configView(facts.config, toInstant) : null,
    scrub: facts.scrub,
  };
}

function mirrorView(mirror: MirrorFacts, nowMs: number): MirrorStatus {
  return {
    name: mirror.name,
    transport: mirror.transport,
    url: mirror.url === null ? null : withoutCredentials(mirror.url),
    state: mirror.state,
    generation: mirror.generation,
    lag_seconds: secondsSince(mirror.pushedMissingSinceMs, nowMs),
    observed_generation: mirror.observedAtMs === null ? null : mirror.observedGeneration,
    observed_lag_seconds: observedLagSeconds(mirror, nowMs),
    observed_at: instant(mirror.observedAtMs),
    observed_unknown_content: mirror.observedUnknownContent,
    unanswered_seconds: mirror.unanswered?.seconds ?? null,
    observed_error: mirror.unanswered?.detail ?? null,
    last_success_at: instant(mirror.lastSuccessAtMs),
    next_attempt_at: instant(mirror.nextAttemptAtMs),
    waits_for: mirror.waitsFor,
    takeover_after_seconds: mirror.takeoverAfterMs == null ? null : mirror.takeoverAfterMs / 1000,
    taken_over_since: instant(mirror.takenOverAtMs ?? null),
    blocked_by: mirror.blockedBy,
    last_error: lastErrorOf(mirror),
    clock_skew_seconds: mirror.clockSkewSeconds ?? null,
    sync_period_seconds: mirror.sync === null ? null : Math.round(mirror.sync.periodMs / 1000),
    next_sync_at: instant(mirror.sync?.nextMs ?? null),
    sync_overdue: mirror.sync?.overdue ?? false,
    push_progress: pushProgressView(mirror.pushProgress ?? null, instant),
  };
}

function lastErrorOf({ lastError, blockNote }: MirrorFacts): string | null {
  if (blockNote !== null) return `blocked by hand: ${blockNote}`;
  return lastError === null ? null : `${lastError.reason}: ${lastError.message}`;
}

function batchView(batch: BatchFacts): BatchStatus {
  return {
    id: batch.id,
    builder: batch.builder,
    state: batch.state,
    generation: batch.generation,
    updated_at: toInstant(batch.updatedAtMs),
    reasons: batch.reasons.map(({ code, path, detail }) => ({ code, path, detail })),
  };
}

/** Whole seconds for which the first missing generation has been out; 0 when nothing is missing. */
export function secondsSince(missingSinceMs: number | null, nowMs: number): number {
  return missingSinceMs === null ? 0 : Math.max(0, Math.floor((nowMs - missingSinceMs) / 1000));
}

/** Lag of what users of the mirror see; null when it was never observed or serves only unknown content. */
export function observedLagSeconds(mirror: MirrorFacts, nowMs: number): number | null {
  if (mirror.observedAtMs === null || mirror.observedGeneration === null) return null;
  return secondsSince(mirror.observedMissingSinceMs, nowMs);
}

/** True when the mirror was confirmed to hold the newest generation and was not seen to serve anything else. */
export function isInStep(mirror: MirrorStatus, newest: number): boolean {
  if (newest === 0) return true;
  const confirmed = mirror.generation !== null && mirror.generation >= newest;
  const served = mirror.observed_generation === null || mirror.observed_generation >= newest;
  return confirmed && served && !mirror.observed_unknown_content;
}

/** Decides the exit code of `lockstepd status`: true (0) when no mirror is behind, false (3) otherwise. */
export function allInStep(status: Status): boolean {
  return status.mirrors.every((mirror) => isInStep(mirror, status.generation));
}

function instant(ms: number | null): string | null {
  return ms === null ? null : toInstant(ms);
}

// The status is public; a URL may carry the user and password of the probe.
function withoutCredentials(url: string): string | null {
  if (!URL.canParse(url)) return null;
  const parsed = new URL(url);
  parsed.username = '';
  parsed.password = '';
  return parsed.href;
}
