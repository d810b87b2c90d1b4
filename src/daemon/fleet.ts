/** The mirrors of the configuration while the daemon runs: starts, wakes, drains and forgets their workers and probes. */
import type { Config } from '../config/schema.ts';
import type { MirrorWorker } from '../replicate/worker.ts';
import type { Clock } from '../system/clock.ts';
import { createMirror, type MirrorDeps, type MirrorParts, SharedLimits, sourceOf } from './mirrors.ts';
import type { MirrorSource } from './facts.ts';
import type { Supervisor } from './supervisor.ts';

export interface FleetDeps extends Omit<MirrorDeps, 'graceMs' | 'primary' | 'probeMs' | 'shared'> {
  readonly clock: Clock;
  readonly supervisor: Supervisor;
  /** The configuration as it is now. */
  readonly config: () => Config;
}

export class Fleet {
  readonly #deps: FleetDeps;
  readonly #mirrors = new Map<string, MirrorParts>();
  readonly #limits: SharedLimits;

  constructor(deps: FleetDeps) {
    this.#deps = deps;
    this.#limits = new SharedLimits(deps.config(), deps.clock);
  }

  get names(): string[] {
    return [...this.#mirrors.keys()];
  }

  get(name: string): MirrorParts | null {
    return this.#mirrors.get(name) ?? null;
  }

  /** Those to which we push. */
  pushed(): { readonly config: MirrorParts['config']; readonly worker: MirrorWorker }[] {
    return [...this.#mirrors.values()].flatMap(({ config, worker }) => (worker ? [{ config, worker }] : []));
  }

  sources(): MirrorSource[] {
    return [...this.#mirrors.values()].map(sourceOf);
  }

  /** Starts what the configuration names and does not run yet. */
  start(): void {
    const { config, supervisor, ...common } = this.#deps;
    const { mirrors, publish, schedule } = config();
    for (const mirror of mirrors) {
      const { name } = mirror;
      if (this.#mirrors.has(name)) continue;
      const { graceMs, primary } = publish;
      const deps = { ...common, graceMs, primary, probeMs: schedule.probeMs, shared: this.#limits };
      const { worker, probe } = createMirror(mirror, deps);
      this.#mirrors.set(name, { config: mirror, worker, probe });
      if (worker) supervisor.start(`mirror:${name}`, (signal) => worker.run(signal));
      if (probe) supervisor.start(`probe:${name}`, (signal) => probe.run(signal));
    }
  }

  /** The services of these have been ended, and the limits may be others. */
  reconfigure(isStopped: (service: string) => boolean): void {
    for (const name of this.names) if (isStopped(`mirror:${name}`)) this.#mirrors.delete(name);
    this.#limits.set(this.#deps.config());
  }

  /** A new generation may be out. */
  wake(): void {
    for (const { worker } of this.pushed()) worker.wake();
  }

  /** Pushes in hand end, no other begins. */
  drain(): void {
    for (const { worker } of this.pushed()) worker.drain();
  }
}
