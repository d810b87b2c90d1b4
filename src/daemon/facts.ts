/** Gathers what the status page, the metrics and the command line show, from the store and the workers. */
import type { KeyState } from '../config/key-scope.ts';
import type { MirrorConfig } from '../config/mirror-schema.ts';
import type { BrokerFacts } from '../observe/announcements.ts';
import type { ScrubStatus } from '../observe/scrub.ts';
import type { KeyProblemFacts, MirrorFacts, MirrorState, StatusFacts } from '../observe/status.ts';
import type { MetricTargets } from '../observe/metrics.ts';
import type { Config } from '../config/schema.ts';
import { lastFailureOf, type MirrorPhase } from '../replicate/mirror.ts';
import type { IndexRow } from '../store/generations.ts';
import type { Store } from '../store/store.ts';

const endedBatchesShown = 20;

export interface MirrorSource {
  readonly config: MirrorConfig;
  readonly phase: MirrorPhase;
}

/** What the keys of today say. */
export interface KeyJudge {
  stateOf(index: IndexRow): KeyState;
  problems(): readonly KeyProblemFacts[];
}

export function gatherFacts(
  store: Store,
  mirrors: readonly MirrorSource[],
  keys: KeyJudge,
  scrub: ScrubStatus,
  announcements: readonly BrokerFacts[],
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
    mirrors: mirrors.map((mirror) => mirrorFacts(store, mirror, number)),
    announcements,
    batches: store.batches.recent(endedBatchesShown),
    keyProblems: keys.problems(),
    scrub,
  };
}

function mirrorFacts(store: Store, { config, phase }: MirrorSource, newest: number): MirrorFacts {
  const row = store.mirrors.get(config.name);
  const missingSince = (generation: number | null): number | null =>
    generation !== null && generation >= newest ? null : store.generations.publishedAt((generation ?? 0) + 1);
  const failure = lastFailureOf(phase);
  return {
    name: config.name,
    transport: config.transport.type,
    state: stateOf(phase, row.confirmed, newest),
    generation: row.confirmed,
    pushedMissingSinceMs: missingSince(row.confirmed),
    observedGeneration: row.observed,
    observedMissingSinceMs: row.observedAtMs === null ? null : missingSince(row.observed),
    observedAtMs: row.observedAtMs,
    observedUnknownContent: row.unknownContent,
    lastSuccessAtMs: row.lastSuccessAtMs,
    nextAttemptAtMs: phase.phase === 'waiting' || phase.phase === 'blocked' ? phase.untilMs : null,
    lastError: failure ? { reason: failure.reason, message: failure.message } : null,
    url: config.url,
  };
}

function stateOf(phase: MirrorPhase, confirmed: number | null, newest: number): MirrorState {
  switch (phase.phase) {
    case 'pushing':
    case 'waiting':
    case 'blocked':
      return phase.phase;
    case 'idle':
      if (confirmed === null) return 'unknown';
      return confirmed >= newest ? 'in-sync' : 'behind';
    default:
      return phase satisfies never;
  }
}

/** The names for which there are series of metrics. */
export function targetsOf(config: Config): MetricTargets {
  return {
    builders: config.inboxes.map((i) => i.builder),
    mirrors: config.mirrors.map((m) => m.name),
    brokers: config.announce.map((b) => b.name),
  };
}

/** One line for the service manager. */
export function statusLine({ generation, mirrors }: StatusFacts): string {
  const inStep = mirrors.filter((mirror) => mirror.state === 'in-sync').length;
  return `generation ${generation}, ${inStep} of ${mirrors.length} mirrors in step`;
}
