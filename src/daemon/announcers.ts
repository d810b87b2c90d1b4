/** Runs one announcer for each broker of the configuration, and tells what each one does. */
import type { AnnounceConfig } from '../config/announce-schema.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { BrokerFacts, BrokerState } from '../observe/announcements.ts';
import type { Publisher } from '../publish/publisher.ts';
import { Announcer } from '../replicate/announce.ts';
import type { Store } from '../store/store.ts';
import type { Clock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';
import type { Supervisor } from './supervisor.ts';

export interface AnnouncersDeps {
  readonly store: Store;
  readonly publisher: Publisher;
  readonly metrics: Metrics;
  readonly supervisor: Supervisor;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

export class Announcers {
  readonly #deps: AnnouncersDeps;
  readonly #running = new Map<string, { readonly config: AnnounceConfig; readonly announcer: Announcer }>();

  constructor(deps: AnnouncersDeps) {
    this.#deps = deps;
  }

  /** Ends what changed or went, starts what is new. */
  async configure(brokers: readonly AnnounceConfig[]): Promise<void> {
    const { supervisor } = this.#deps;
    for (const [name, { config }] of this.#running) {
      const next = brokers.find((broker) => broker.name === name);
      if (next && JSON.stringify(next) === JSON.stringify(config)) continue;
      await supervisor.stop((service) => service === `announce:${name}`);
      this.#running.delete(name);
    }
    for (const config of brokers) if (!this.#running.has(config.name)) this.#start(config);
  }

  #start(config: AnnounceConfig): void {
    const { store, publisher, metrics, supervisor, clock, random, log } = this.#deps;
    const { name, url, topic, traceTopic, primary } = config;
    store.brokers.open(name, [url, topic, traceTopic, primary ?? ''].join(' '));
    const announcer = new Announcer(config, {
      store,
      lease: () => publisher.lease(),
      clock,
      random,
      log,
      onOutcome: (outcome) => metrics.announced(name, outcome),
    });
    this.#running.set(name, { config, announcer });
    supervisor.start(`announce:${name}`, (signal) => announcer.run(signal));
  }

  /** A new generation may be out. */
  wake(): void {
    for (const { announcer } of this.#running.values()) announcer.wake();
  }

  facts(): BrokerFacts[] {
    const { store } = this.#deps;
    const newest = store.generations.current()?.number ?? 0;
    return [...this.#running.values()].map(({ config, announcer }) => {
      const { announced, announcedAtMs } = store.brokers.get(config.name);
      const { phase } = announcer;
      return {
        name: config.name,
        url: config.url,
        state: stateOf(phase.phase, announced ?? 0, newest),
        generation: announced,
        announcedAtMs,
        nextAttemptAtMs: 'untilMs' in phase ? phase.untilMs : null,
        lastError: 'lastError' in phase ? phase.lastError : null,
      };
    });
  }
}

function stateOf(phase: Announcer['phase']['phase'], announced: number, newest: number): BrokerState {
  return phase === 'connected' ? (announced >= newest ? 'in-sync' : 'behind') : phase;
}
