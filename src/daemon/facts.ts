/** Gathers what the status page, the metrics and the command line show, from the store and the workers. */
import type { KeyState } from '../config/key-scope.ts';
import type { MirrorConfig } from '../config/mirror-schema.ts';
import { estimateSync } from '../observe/period.ts';
import type { BrokerFacts } from '../observe/announcements.ts';
import type { ConfigFacts } from '../observe/config.ts';
import type { HookFacts } from '../observe/hooks.ts';
import type { SwitchStatus } from '../observe/switch.ts';
import type { ScrubStatus } from '../observe/scrub.ts';
import type { UpstreamFacts } from '../observe/upstreams.ts';
import type { KeyProblemFacts, MirrorFacts, MirrorState, StatusFacts } from '../observe/status.ts';
import type { Unanswered } from '../observe/unanswered.ts';
import type { MetricTargets } from '../observe/metrics.ts';
import type { Config } from '../config/schema.ts';
import type { PushProgress } from '../replicate/push-progress.ts';
import { blockOf, breakerOf, type MirrorState as WorkerState } from '../replicate/mirror.ts';
import { missingSince, withinPart } from './held.ts';
import type { IndexRow } from '../store/generations.ts';
import type { Store } from '../store/store.ts';

const endedBatchesShown = 20;

export interface MirrorSource {
  readonly config: MirrorConfig;
  /** Null for a mirror that pulls when it likes: it has what it is seen to serve. */
  readonly worker: {
    readonly state: WorkerState;
    readonly nextAttemptAtMs: number | null;
    readonly progress?: PushProgress | null;
  } | null;
  /** Since when this process knows it. */
  readonly sinceMs?: number;
  readonly clockSkewSeconds?: number | null;
  readonly unanswered?: Unanswered | null;
}

/** What the keys of today say. */
interface KeyJudge {
  stateOf(index: IndexRow): KeyState;
  problems(): readonly KeyProblemFacts[];
}

interface FactSources {
  readonly mirrors: readonly MirrorSource[];
  readonly keys: KeyJudge;
  readonly scrub: ScrubStatus;
  readonly announcements: readonly BrokerFacts[];
  readonly hooks?: readonly HookFacts[];
  readonly config?: ConfigFacts;
  readonly switching?: SwitchStatus | null;
  /** What the upstreams say, by the name of their inbox. */
  readonly upstreams: ReadonlyMap<string, UpstreamFacts['says']>;
  readonly nowMs: number;
}

export function gatherFacts(
  store: Store,
  { mirrors, keys, scrub, announcements, hooks = [], config, upstreams, switching = null, nowMs }: FactSources,
): StatusFacts {
  const current = store.generations.current();
  const number = current?.number ?? 0;
  return {
    generation: number,
    publishedAtMs: current?.publishedAtMs ?? null,
    repositories: store.generations.indexesAt(number).map((index) => ({
      path: index.repository,
      index: index.file,
      generation: index.since,
      indexSha256: index.sha256,
      packages: index.packages,
      builder: index.builder,
      signedBy: index.signedBy,
      signedKey: index.signedKey ?? null,
      keyState: keys.stateOf(index),
    })),
    mirrors: mirrors.map((mirror) => mirrorFacts(store, mirror, number, nowMs)),
    announcements,
    hooks,
    ...(config && { config }),
    switching,
    upstreams: [...upstreams].map(([builder, says]) => upstreamFacts(store, builder, says)),
    batches: store.batches.recent(endedBatchesShown),
    keyProblems: keys.problems(),
    stateProblem: store.writeProblem(),
    scrub,
  };
}

function upstreamFacts(store: Store, builder: string, says: UpstreamFacts['says']): UpstreamFacts {
  const newest = Math.max(0, ...store.generations.indexesBy(builder).map(({ since }) => since));
  const publishedAtMs = newest === 0 ? null : store.generations.publishedAt(newest);
  return { builder, says, generation: newest === 0 ? null : newest, publishedAtMs };
}

function mirrorFacts(
  store: Store,
  { config, worker, sinceMs = 0, clockSkewSeconds = null, unanswered = null }: MirrorSource,
  newest: number,
  nowMs: number,
): MirrorFacts {
  const row = store.mirrors.get(config.name);
  const state = worker?.state ?? null;
  const observed = withinPart(store, config.part, row.observed, newest);
  const isStandby = config.takeoverAfterMs !== null && row.takenOverAtMs === null;
  const held = worker && !isStandby ? withinPart(store, config.part, row.confirmed, newest) : observed;
  const block = state && blockOf(state);
  const failure = state?.lastFailure ?? null;
  const neverFilled = row.confirmed === null && row.serves === null && (observed ?? 0) === 0;
  // Nobody waits for what came out before there was such a mirror.
  const lacksSince = (generation: number | null): number | null => {
    const atMs = missingSince(store, generation, newest);
    return atMs !== null && neverFilled ? Math.max(atMs, sinceMs) : atMs;
  };
  // While it is compared anew, what it served last is the best that is known.
  const known = held ?? withinPart(store, config.part, row.serves, newest);
  const observedMissingSinceMs = row.observedAtMs === null ? null : lacksSince(observed);
  return {
    name: config.name,
    transport: config.transport.type,
    state:
      state && !(isStandby && isIdle(state))
        ? stateOf(state, held, newest)
        : standing(row.unknownContent ? null : held, newest),
    generation: held,
    pushedMissingSinceMs: lacksSince(known),
    observedGeneration: observed,
    observedMissingSinceMs,
    observedAtMs: row.observedAtMs,
    observedUnknownContent: row.unknownContent,
    lastSuccessAtMs: row.lastSuccessAtMs,
    nextAttemptAtMs: worker?.nextAttemptAtMs ?? null,
    waitsFor:
      state?.phase === 'waiting' ? state.why : isStandby ? 'standby' : row.staged !== newest ? null : 'together',
    takeoverAfterMs: config.takeoverAfterMs,
    takenOverAtMs: config.takeoverAfterMs === null ? null : row.takenOverAtMs,
    breaker: state ? breakerOf(state) : 'closed',
    blockedBy: block?.by ?? null,
    blockNote: block?.note ?? null,
    lastError: failure ? { reason: failure.reason, message: failure.message } : null,
    url: config.url,
    clockSkewSeconds,
    unanswered,
    pushProgress: worker?.progress ?? null,
    sync: state
      ? null
      : estimateSync({ moments: store.syncs.of(config.name), missingSinceMs: observedMissingSinceMs, nowMs }),
  };
}

function stateOf(state: WorkerState, confirmed: number | null, newest: number): MirrorState {
  switch (state.phase) {
    case 'pushing':
    case 'waiting':
    case 'blocked':
      return state.phase;
    case 'checking':
      return state.blocked ? 'blocked' : 'waiting';
    case 'in-sync':
    case 'behind':
      // What is out may be newer than what the worker has seen.
      return standing(confirmed, newest);
    default:
      return state satisfies never;
  }
}

/** The worker has nothing to do, or only waits for its start. */
function isIdle(state: WorkerState): boolean {
  return state.phase === 'in-sync' || state.phase === 'behind' || (state.phase === 'waiting' && state.why === 'pace');
}

function standing(held: number | null, newest: number): MirrorState {
  if (held === null) return 'unknown';
  return held >= newest ? 'in-sync' : 'behind';
}

/** The names for which there are series of metrics. */
export function targetsOf(config: Config): MetricTargets {
  return {
    builders: config.inboxes.map((i) => i.builder),
    mirrors: config.mirrors.map((m) => m.name),
    brokers: config.announce.map((b) => b.name),
    hooks: config.hooks.map((h) => h.name),
  };
}

/** One line for the service manager. */
export function statusLine({ generation, mirrors }: StatusFacts): string {
  const inStep = mirrors.filter((mirror) => mirror.state === 'in-sync').length;
  return `generation ${generation}, ${inStep} of ${mirrors.length} mirrors in step`;
}
