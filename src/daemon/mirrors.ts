/** Builds what one mirror needs while the daemon runs: its worker, and its probe when it has a URL. */
import type { Limits } from '../config/mirror-limits-schema.ts';
import type { MirrorConfig } from '../config/mirror-schema.ts';
import { isInPart } from '../config/part.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { Prober } from '../observe/probe.ts';
import type { Publisher } from '../publish/publisher.ts';
import { createTransport } from '../replicate/connect.ts';
import { limitTransport } from '../replicate/limited.ts';
import { storedStates } from '../replicate/ports.ts';
import { MirrorPush } from '../replicate/push.ts';
import { Slots } from '../replicate/slots.ts';
import { MirrorWorker } from '../replicate/worker.ts';
import type { Store } from '../store/store.ts';
import type { Clock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';
import { Throttle } from '../system/throttle.ts';
import { ProbeService } from './probes.ts';

/** What all mirrors share: slots and bandwidth. */
export class SharedLimits {
  readonly slots: Slots;
  readonly throttle: Throttle;

  constructor({ connections, bytesPerSecond }: Limits, clock: Clock) {
    this.slots = new Slots(connections, clock);
    this.throttle = new Throttle(bytesPerSecond, clock);
  }

  /** Takes effect at once, for what runs too. */
  set({ connections, bytesPerSecond }: Limits): void {
    this.slots.setLimit(connections);
    this.throttle.setRate(bytesPerSecond);
  }
}

/** So that hundreds of mirrors do not all come in the second of a start; a few come at once. */
const startSpreadMs = 20;

export interface MirrorDeps {
  readonly store: Store;
  readonly publisher: Publisher;
  readonly metrics: Metrics;
  readonly prober: Prober;
  readonly graceMs: number;
  readonly probeMs: number;
  /** What all mirrors share. */
  readonly shared: SharedLimits;
  /** Mirrors that start at the same time. */
  readonly fleet: number;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

export interface MirrorParts {
  readonly config: MirrorConfig;
  readonly worker: MirrorWorker;
}

/** Neither runs yet. */
export function createMirror(
  config: MirrorConfig,
  { publisher, metrics, prober, graceMs, probeMs, shared, fleet, ...common }: MirrorDeps,
): { readonly worker: MirrorWorker; readonly probe: ProbeService | null } {
  const { store, clock } = common;
  const { name, url, part } = config;
  const takes = (repository: string): boolean => isInPart(part, repository);
  const probe =
    url === null ? null : new ProbeService(name, url, { ...common, prober, metrics, everyMs: probeMs, takes });
  const throttles = [new Throttle(config.bytesPerSecond, clock), shared.throttle];
  const push = new MirrorPush(name, limitTransport(createTransport(config.transport), shared.slots, throttles), {
    ...common,
    lease: () => publisher.lease(),
    graceMs,
    takes,
    events: {
      bytes: (count) => metrics.pushedBytes(name, count),
      confirmed: (generation) => {
        const publishedAt = store.generations.publishedAt(generation);
        if (publishedAt !== null) metrics.propagated(name, Math.max(0, clock.now() - publishedAt) / 1000);
        probe?.wake();
      },
    },
  });
  const worker = new MirrorWorker(name, push, {
    ...common,
    states: storedStates(store, name, JSON.stringify(config.transport)),
    quiet: config.quiet,
    spreadMs: startSpreadMs * fleet,
    events: {
      attempt: (outcome) => metrics.pushAttempt(name, outcome),
      failed: (reason) => metrics.pushFailed(name, reason),
    },
  });
  return { worker, probe };
}
