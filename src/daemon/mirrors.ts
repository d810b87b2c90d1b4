/** Builds what one mirror needs while the daemon runs: its worker, and its probe when it has a URL. */
import { hostname } from 'node:os';
import { isShared, type MirrorConfig } from '../config/mirror-schema.ts';
import { isInPart, partText } from '../config/part.ts';
import type { Config } from '../config/schema.ts';
import type { PushFailureReason } from '../errors.ts';
import type { Metrics, PushOutcome } from '../observe/metrics.ts';
import type { Prober } from '../observe/probe.ts';
import type { Publisher } from '../publish/publisher.ts';
import type { Failure } from '../replicate/backoff.ts';
import { createTransport, placeOf } from '../replicate/connect.ts';
import { limitTransport } from '../replicate/limited.ts';
import { storedStates } from '../replicate/ports.ts';
import { MirrorPush } from '../replicate/push.ts';
import { retrying } from '../replicate/retry.ts';
import { onlyWhen } from '../replicate/standby.ts';
import type { Vouch } from '../replicate/fellow.ts';
import type { TogetherPort } from '../replicate/together.ts';
import { Slots } from '../replicate/slots.ts';
import { createTrigger } from '../replicate/trigger.ts';
import { TriggerPush } from '../replicate/trigger-push.ts';
import { MirrorWorker } from '../replicate/worker.ts';
import type { Store } from '../store/store.ts';
import type { Clock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';
import { Throttle } from '../system/throttle.ts';
import type { Arrivals } from './arrivals.ts';
import type { MirrorSource } from './facts.ts';
import { watchBlock } from './block-watch.ts';
import { followObservation, type Seen } from './follow.ts';
import { missingSince, withinPart } from './held.ts';
import { ProbeService } from './probes.ts';
import { Takeover } from './takeover.ts';

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
  readonly arrivals: Arrivals;
  readonly prober: Prober;
  readonly vouch: Vouch;
  readonly together: TogetherPort;
  readonly graceMs: number;
  /** The name of this primary; null: that of the host. */
  readonly primary: string | null;
  readonly probeMs: () => number;
  /** What all mirrors share. */
  readonly shared: SharedLimits;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

export interface MirrorParts {
  readonly config: MirrorConfig;
  /** When the daemon began with it. */
  readonly sinceMs: number;
  /** Null for a mirror that pulls when it likes. */
  readonly worker: MirrorWorker | null;
  readonly probe: ProbeService | null;
}

/** What the status is made of. */
export function sourceOf({ config, sinceMs, worker, probe }: MirrorParts): MirrorSource {
  return {
    config,
    sinceMs,
    worker,
    clockSkewSeconds: probe?.clockSkewSeconds ?? null,
    unanswered: probe?.unanswered ?? null,
  };
}

const maxTraceBytes = 4 * 1024 * 1024;

/** Neither runs yet; the store knows where the mirror is and what it takes. */
export function createMirror(
  config: MirrorConfig,
  {
    publisher,
    metrics,
    arrivals,
    prober,
    vouch,
    together,
    graceMs,
    primary: named,
    probeMs,
    shared,
    ...common
  }: MirrorDeps,
): { readonly worker: MirrorWorker | null; readonly probe: ProbeService | null } {
  const { store, clock } = common;
  const { name, url, part, transport, takeoverAfterMs } = config;
  const primary = named ?? hostname();
  store.mirrors.open(name, placeOf(transport, url), partText(part));
  if (url === null) store.mirrors.unobserve(name);
  const takes = (repository: string): boolean => isInPart(part, repository);
  const propagated = (generation: number): void => {
    const publishedAt = store.generations.publishedAt(generation);
    if (publishedAt !== null) metrics.propagated(name, Math.max(0, clock.now() - publishedAt) / 1000);
    arrivals.confirmed(name, generation, clock.now());
  };
  const following = { store, takes, now: () => clock.now(), onConfirmed: propagated };
  const pulls = transport.type === 'trigger' || transport.type === 'pull';
  const takeover =
    takeoverAfterMs === null || url === null
      ? null
      : new Takeover(name, {
          ...common,
          afterMs: takeoverAfterMs,
          primary,
          read: (path, signal) => prober.read(url, path, { maxBytes: maxTraceBytes, signal }),
          missingSinceMs: () => {
            const newest = store.generations.current()?.number ?? 0;
            return missingSince(store, withinPart(store, part, store.mirrors.get(name).observed, newest), newest);
          },
          onTakeover: () => worker.wake(),
        });
  // What others push there is known by what is seen.
  const onSeen = (seen: Seen): void => {
    if (pulls || takeover?.isOurs === false) followObservation(name, seen, following);
  };
  const watching = {
    ...(pulls || takeover ? { onSeen } : {}),
    ...(pulls ? {} : { vouch, onDrift: (): void => worker.wake() }),
    ...(takeover && { onAnswer: (signal: AbortSignal) => takeover.look(signal) }),
  };
  const probeDeps = { ...common, prober, metrics, everyMs: probeMs, takes, ...watching };
  const probe = url === null ? null : new ProbeService(name, url, probeDeps);
  if (transport.type === 'pull') return { worker: null, probe };
  arrivals.open(name, part, clock.now());
  const wakeProbe = (): void => probe?.wake();
  const throttles = [new Throttle(config.bytesPerSecond, clock), shared.throttle];
  const retries = {
    ...common,
    onRetry: (failure: Failure): void => {
      metrics.pushAttempt(name, 'retryable');
      metrics.pushFailed(name, failure.reason);
      worker.retried(failure);
    },
  };
  const push =
    transport.type === 'trigger'
      ? new TriggerPush(name, createTrigger(transport, clock), { ...common, ...transport, together, probe: wakeProbe })
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
              primary,
              vouch,
              together,
              shared: isShared(config, named),
              prunes: takeover === null,
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
  const worker = new MirrorWorker(name, takeover === null ? push : onlyWhen(() => takeover.isOurs, push), {
    ...common,
    states: storedStates(store, name, JSON.stringify(transport)),
    quiet: config.quiet,
    lookMs: 10 * 60_000,
    spreadMs: shared.spreadMs,
    events: {
      attempt: (outcome: PushOutcome) => metrics.pushAttempt(name, outcome),
      failed: (reason: PushFailureReason) => metrics.pushFailed(name, reason),
      state: watchBlock(name, common),
    },
  });
  return { worker, probe };
}
