/** Builds what one mirror needs while the daemon runs: its worker, and its probe when it has a URL. */
import { hostname } from 'node:os';
import type { MirrorConfig } from '../config/mirror-schema.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { Prober } from '../observe/probe.ts';
import type { Publisher } from '../publish/publisher.ts';
import { createTransport } from '../replicate/connect.ts';
import { MirrorWorker } from '../replicate/worker.ts';
import type { Store } from '../store/store.ts';
import type { Clock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';
import type { MirrorSource } from './facts.ts';
import { ProbeService } from './probes.ts';

export interface MirrorDeps {
  readonly store: Store;
  readonly publisher: Publisher;
  readonly metrics: Metrics;
  readonly prober: Prober;
  readonly graceMs: number;
  /** The name of this primary; null: that of the host. */
  readonly primary: string | null;
  readonly probeMs: number;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

export interface MirrorParts {
  readonly config: MirrorConfig;
  readonly worker: MirrorWorker;
  readonly probe: ProbeService | null;
}

/** What the status is made of. */
export function sourceOf({ config, worker, probe }: MirrorParts): MirrorSource {
  return { config, phase: worker.phase, clockSkewSeconds: probe?.clockSkewSeconds ?? null };
}

/** Neither runs yet. */
export function createMirror(
  config: MirrorConfig,
  { publisher, metrics, prober, graceMs, primary, probeMs, ...shared }: MirrorDeps,
): { readonly worker: MirrorWorker; readonly probe: ProbeService | null } {
  const { store, clock } = shared;
  const { name, url } = config;
  const onDrift = (): void => worker.wake();
  const probe =
    url === null ? null : new ProbeService(name, url, { ...shared, prober, metrics, everyMs: probeMs, onDrift });
  const worker = new MirrorWorker(name, createTransport(config.transport), {
    ...shared,
    lease: () => publisher.lease(),
    graceMs,
    primary: primary ?? hostname(),
    events: {
      attempt: (outcome) => metrics.pushAttempt(name, outcome),
      failed: (reason) => metrics.pushFailed(name, reason),
      bytes: (count) => metrics.pushedBytes(name, count),
      confirmed: (generation) => {
        const publishedAt = store.generations.publishedAt(generation);
        if (publishedAt !== null) metrics.propagated(name, Math.max(0, clock.now() - publishedAt) / 1000);
        probe?.wake();
      },
    },
  });
  return { worker, probe };
}
