/** Builds what one mirror needs while the daemon runs: its worker, and its probe when it has a URL. */
import type { MirrorConfig } from '../config/mirror-schema.ts';
import type { PushFailureReason } from '../errors.ts';
import type { Metrics, PushOutcome } from '../observe/metrics.ts';
import type { Prober } from '../observe/probe.ts';
import type { Publisher } from '../publish/publisher.ts';
import { createTransport } from '../replicate/connect.ts';
import { createTrigger } from '../replicate/trigger.ts';
import { TriggerPush } from '../replicate/trigger-push.ts';
import { MirrorWorker } from '../replicate/worker.ts';
import type { Store } from '../store/store.ts';
import type { Clock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';
import { followObservation, type Seen } from './follow.ts';
import { ProbeService } from './probes.ts';

export interface MirrorDeps {
  readonly store: Store;
  readonly publisher: Publisher;
  readonly metrics: Metrics;
  readonly prober: Prober;
  readonly graceMs: number;
  readonly probeMs: number;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

export interface MirrorParts {
  readonly config: MirrorConfig;
  /** Null for a mirror that pulls when it likes. */
  readonly worker: MirrorWorker | null;
}

/** Neither runs yet. */
export function createMirror(
  config: MirrorConfig,
  { publisher, metrics, prober, graceMs, probeMs, ...shared }: MirrorDeps,
): { readonly worker: MirrorWorker | null; readonly probe: ProbeService | null } {
  const { store, clock } = shared;
  const { name, url, transport } = config;
  const propagated = (generation: number): void => {
    const publishedAt = store.generations.publishedAt(generation);
    if (publishedAt !== null) metrics.propagated(name, Math.max(0, clock.now() - publishedAt) / 1000);
  };
  const follows = transport.type === 'trigger' || transport.type === 'pull';
  const following = { store, now: () => clock.now(), onConfirmed: propagated };
  const onSeen = follows ? { onSeen: (seen: Seen) => followObservation(name, seen, following) } : {};
  const probing = { ...shared, prober, metrics, everyMs: probeMs, ...onSeen };
  const probe = url === null ? null : new ProbeService(name, url, probing);
  if (transport.type === 'pull') return { worker: null, probe };
  const wakeProbe = (): void => probe?.wake();
  const pusher =
    transport.type === 'trigger'
      ? new TriggerPush(name, createTrigger(transport, clock), { ...shared, ...transport, probe: wakeProbe })
      : null;
  const deps = {
    ...shared,
    pusher,
    lease: () => publisher.lease(),
    graceMs,
    events: {
      attempt: (outcome: PushOutcome) => metrics.pushAttempt(name, outcome),
      failed: (reason: PushFailureReason) => metrics.pushFailed(name, reason),
      bytes: (count: number) => metrics.pushedBytes(name, count),
      confirmed: (generation: number) => {
        propagated(generation);
        wakeProbe();
      },
    },
  };
  return { worker: new MirrorWorker(name, createTransport(transport), deps), probe };
}
