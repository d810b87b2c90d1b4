/** Builds what one mirror needs while the daemon runs: its worker, and its probe when it has a URL. */
import { hostname } from 'node:os';
import type { MirrorConfig } from '../config/mirror-schema.ts';
import { isInPart, partText } from '../config/part.ts';
import type { Config } from '../config/schema.ts';
import type { PushFailureReason } from '../errors.ts';
import type { Metrics, PushOutcome } from '../observe/metrics.ts';
import type { Prober } from '../observe/probe.ts';
import type { Publisher } from '../publish/publisher.ts';
import { createTransport, placeOf } from '../replicate/connect.ts';
import { limitTransport } from '../replicate/limited.ts';
import { storedStates } from '../replicate/ports.ts';
import { MirrorPush } from '../replicate/push.ts';
import { retrying } from '../replicate/retry.ts';
import { Slots } from '../replicate/slots.ts';
import { createTrigger } from '../replicate/trigger.ts';
import { TriggerPush } from '../replicate/trigger-push.ts';
import { MirrorWorker } from '../replicate/worker.ts';
import type { Store } from '../store/store.ts';
import type { Clock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';
import { Throttle } from '../system/throttle.ts';
import type { MirrorSource } from './facts.ts';
import { followObservation, type Seen } from './follow.ts';
import { ProbeService } from './probes.ts';

/** So that hundreds of mirrors do not all come in the second of a start; a few come at once. */
const startSpreadMs = 20;

type Shared = Pick<Config, 'limits' | 'mirrors'>;

/** What all mirrors share: slots and bandwidth. */
export class SharedLimits {
  readonly slots: Slots;
  readonly throttle: Throttle;
  /** How many share. */
  #fleet: number;

  constructor({ limits, mirrors }: Shared, clock: Clock) {
    this.slots = new Slots(limits.connections, clock);
    this.throttle = new Throttle(limits.bytesPerSecond, clock);
    this.#fleet = mirrors.length;
  }

  get spreadMs(): number {
    return startSpreadMs * this.#fleet;
  }

  /** Takes effect at once, for what runs too. */
  set({ limits, mirrors }: Shared): void {
    this.slots.setLimit(limits.connections);
    this.throttle.setRate(limits.bytesPerSecond);
    this.#fleet = mirrors.length;
  }
}

export interface MirrorDeps {
  readonly store: Store;
  readonly publisher: Publisher;
  readonly metrics: Metrics;
  readonly prober: Prober;
  readonly graceMs: number;
  /** The name of this primary; null: that of the host. */
  readonly primary: string | null;
  readonly probeMs: number;
  /** What all mirrors share. */
  readonly shared: SharedLimits;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

export interface MirrorParts {
  readonly config: MirrorConfig;
  /** Null for a mirror that pulls when it likes. */
  readonly worker: MirrorWorker | null;
  readonly probe: ProbeService | null;
}

/** What the status is made of. */
export function sourceOf({ config, worker, probe }: MirrorParts): MirrorSource {
  return { config, worker, clockSkewSeconds: probe?.clockSkewSeconds ?? null };
}

/** Neither runs yet; the store knows where the mirror is and what it takes. */
export function createMirror(
  config: MirrorConfig,
  { publisher, metrics, prober, graceMs, primary, probeMs, shared, ...common }: MirrorDeps,
): { readonly worker: MirrorWorker | null; readonly probe: ProbeService | null } {
  const { store, clock } = common;
  const { name, url, part, transport } = config;
  store.mirrors.open(name, placeOf(transport, url), partText(part));
  const takes = (repository: string): boolean => isInPart(part, repository);
  const propagated = (generation: number): void => {
    const publishedAt = store.generations.publishedAt(generation);
    if (publishedAt !== null) metrics.propagated(name, Math.max(0, clock.now() - publishedAt) / 1000);
  };
  const following = { store, takes, now: () => clock.now(), onConfirmed: propagated };
  const pulls = transport.type === 'trigger' || transport.type === 'pull';
  const watching = pulls
    ? { onSeen: (seen: Seen): void => followObservation(name, seen, following) }
    : { onDrift: (): void => worker.wake() };
  const probeDeps = { ...common, prober, metrics, everyMs: probeMs, takes, ...watching };
  const probe = url === null ? null : new ProbeService(name, url, probeDeps);
  if (transport.type === 'pull') return { worker: null, probe };
  const wakeProbe = (): void => probe?.wake();
  const throttles = [new Throttle(config.bytesPerSecond, clock), shared.throttle];
  const retries = {
    ...common,
    onRetry: (reason: PushFailureReason): void => {
      metrics.pushAttempt(name, 'retryable');
      metrics.pushFailed(name, reason);
    },
  };
  const push =
    transport.type === 'trigger'
      ? new TriggerPush(name, createTrigger(transport, clock), { ...common, ...transport, probe: wakeProbe })
      : retrying(
          name,
          new MirrorPush(
            name,
            limitTransport(createTransport(transport, config.bytesPerSecond), shared.slots, throttles),
            {
              ...common,
              lease: () => publisher.lease(),
              graceMs,
              takes,
              primary: primary ?? hostname(),
              events: {
                bytes: (count) => metrics.pushedBytes(name, count),
                confirmed: (generation) => {
                  propagated(generation);
                  wakeProbe();
                },
              },
            },
          ),
          retries,
        );
  const worker = new MirrorWorker(name, push, {
    ...common,
    states: storedStates(store, name, JSON.stringify(transport)),
    quiet: config.quiet,
    lookMs: 10 * 60_000,
    spreadMs: shared.spreadMs,
    events: {
      attempt: (outcome: PushOutcome) => metrics.pushAttempt(name, outcome),
      failed: (reason: PushFailureReason) => metrics.pushFailed(name, reason),
    },
  });
  return { worker, probe };
}
