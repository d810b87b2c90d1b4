/** Runs the programs of the configuration when something has happened, each hook one event at a time and none in the way of the rest. */
import { hostname } from 'node:os';
import type { HookConfig } from '../config/hooks-schema.ts';
import type { Config } from '../config/schema.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { HookFacts } from '../observe/hooks.ts';
import type { Store } from '../store/store.ts';
import type { Clock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';
import { HookRunner } from './hook-runner.ts';
import type { Supervisor } from './supervisor.ts';

export interface HooksDeps {
  readonly store: Store;
  readonly metrics: Metrics;
  readonly supervisor: Supervisor;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly log: Log;
}

export class Hooks {
  readonly #deps: HooksDeps;
  readonly #running = new Map<string, { readonly config: HookConfig; readonly runner: HookRunner }>();
  /** Aborted when nobody is to wait for a program any more. */
  readonly #hurry = new AbortController();
  #primary = hostname();

  constructor(deps: HooksDeps) {
    this.#deps = deps;
    deps.store.events.listen(() => {
      for (const { runner } of this.#running.values()) runner.wake();
    });
  }

  /** Ends what changed or went once the program in hand has ended, starts what is new. Throws when state.db cannot be written. */
  async configure({ hooks, publish }: Pick<Config, 'hooks' | 'publish'>): Promise<void> {
    const { store, supervisor } = this.#deps;
    this.#primary = publish.primary ?? hostname();
    const gone = [...this.#running].filter(([name, { config }]) => {
      const next = hooks.find((hook) => hook.name === name);
      return JSON.stringify(next) !== JSON.stringify(config);
    });
    const services = new Set(gone.map(([name]) => `hook:${name}`));
    await supervisor.stop((service) => services.has(service));
    for (const [name] of gone) this.#running.delete(name);
    store.events.keepOnly(hooks.map(({ name }) => name));
    for (const config of hooks) if (!this.#running.has(config.name)) this.#start(config);
  }

  #start(config: HookConfig): void {
    const { store, supervisor } = this.#deps;
    const { name } = config;
    store.events.open(name, config.on);
    const runner = new HookRunner(config, { ...this.#deps, primary: () => this.#primary, hurry: this.#hurry.signal });
    this.#running.set(name, { config, runner });
    supervisor.start(`hook:${name}`, (signal) => runner.run(signal));
  }

  /** The daemon stops: once `now` is aborted no program is waited for. */
  hurryOn(now: AbortSignal): void {
    const hurry = (): void => this.#hurry.abort();
    if (now.aborted) hurry();
    else now.addEventListener('abort', hurry, { once: true });
  }

  facts(): HookFacts[] {
    return [...this.#running.values()].map(({ runner }) => runner.facts);
  }
}
