/** The mirrors of the configuration while the daemon runs: starts, wakes, drains and forgets their workers and probes. */
import type { Config } from '../config/schema.ts';
import { messageOf, OperationError } from '../errors.ts';
import type { MirrorWorker } from '../replicate/worker.ts';
import type { Clock } from '../system/clock.ts';
import { Arrivals } from './arrivals.ts';
import { createMirror, type MirrorDeps, type MirrorParts, SharedLimits, sourceOf } from './mirrors.ts';
import type { MirrorSource } from './facts.ts';
import type { SwitchStatus } from '../observe/switch.ts';
import type { Vouch } from '../replicate/fellow.ts';
import type { Member } from '../replicate/together.ts';
import { membersOf } from './members.ts';
import type { Supervisor } from './supervisor.ts';
import { Together } from './together.ts';
import { createVouch, type VouchDeps } from './vouch.ts';

export interface FleetDeps
  extends Omit<MirrorDeps, 'arrivals' | 'graceMs' | 'primary' | 'probeMs' | 'shared' | 'together' | 'vouch'>,
    VouchDeps {
  readonly clock: Clock;
  readonly supervisor: Supervisor;
  /** The configuration as it is now. */
  readonly config: () => Config;
}

export class Fleet {
  readonly #deps: FleetDeps;
  readonly #mirrors = new Map<string, MirrorParts>();
  readonly #limits: SharedLimits;
  /** Which generations came in time. */
  readonly arrivals: Arrivals;
  readonly #together: Together;
  readonly #vouch: Vouch;
  #started = false;

  constructor(deps: FleetDeps) {
    this.#deps = deps;
    this.#limits = new SharedLimits(deps.config(), deps.clock);
    this.arrivals = new Arrivals(deps.store, deps.metrics);
    this.#vouch = createVouch(deps);
    const members = (): Member[] => membersOf(this.#mirrors.values(), deps.store.mirrors.all());
    this.#together = new Together({ ...deps, members, onGo: () => this.#wakeWorkers() });
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

  /** Those of them that no other primary serves at the moment. */
  served(): ReturnType<Fleet['pushed']> {
    const { mirrors } = this.#deps.store;
    return this.pushed().filter(
      ({ config: { name, takeoverAfterMs } }) => takeoverAfterMs === null || mirrors.get(name).takenOverAtMs !== null,
    );
  }

  /** How the newest generation goes out where mirrors switch together; null: each by itself. */
  get switching(): SwitchStatus | null {
    return this.#together.status;
  }

  sources(): MirrorSource[] {
    return [...this.#mirrors.values()].map(sourceOf);
  }

  /**
   * Starts what the configuration names and does not run yet. Throws when some could not be started, because state.db cannot be
   * written for instance; the others run then.
   */
  start(): void {
    const { config, supervisor, ...common } = this.#deps;
    const { mirrors, publish } = config();
    const failed: string[] = [];
    for (const mirror of mirrors) {
      const { name } = mirror;
      if (this.#mirrors.has(name)) continue;
      const { graceMs, primary } = publish;
      const deps = {
        ...common,
        arrivals: this.arrivals,
        graceMs,
        primary,
        probeMs: () => config().schedule.probeMs,
        shared: this.#limits,
        together: this.#together.portOf(name),
        vouch: this.#vouch,
      };
      let parts: ReturnType<typeof createMirror>;
      try {
        parts = createMirror(mirror, deps);
      } catch (error) {
        failed.push(`${name}: ${messageOf(error)}`);
        continue;
      }
      const { worker, probe } = parts;
      this.#mirrors.set(name, { config: mirror, sinceMs: common.clock.now(), worker, probe });
      if (worker) supervisor.start(`mirror:${name}`, (signal) => worker.run(signal));
      if (probe) supervisor.start(`probe:${name}`, (signal) => probe.run(signal));
    }
    if (this.#started) this.#together.configure();
    else supervisor.start('switch', (signal) => this.#together.run(signal));
    this.#started = true;
    if (failed.length > 0)
      throw new OperationError('STATE', `cannot be started: ${failed.join('; ')}: see why state.db cannot be written`);
  }

  /** The services of these have been ended, and the limits may be others. */
  reconfigure(isStopped: (service: string) => boolean): void {
    for (const name of this.names) {
      if (!isStopped(`mirror:${name}`)) continue;
      this.#mirrors.delete(name);
      this.arrivals.forget(name);
      this.#deps.metrics.unprobed(name);
    }
    this.#limits.set(this.#deps.config());
  }

  /** Probes may be due earlier than they thought. */
  wakeProbes(): void {
    for (const { probe } of this.#mirrors.values()) probe?.wake();
  }

  /** A new generation may be out. */
  wake(): void {
    this.#together.review();
    this.#wakeWorkers();
  }

  #wakeWorkers(): void {
    for (const { worker } of this.pushed()) worker.wake();
  }

  /** True for the service of a mirror to which we bring files ourselves: one that pulls goes on without us, and no probe tells of its end any more. */
  brings(service: string): boolean {
    return this.pushed().some(({ config: { name, transport } }) => {
      return service === `mirror:${name}` && transport.type !== 'trigger';
    });
  }

  /** Pushes in hand end, no other begins. */
  drain(): void {
    for (const { worker } of this.pushed()) worker.drain();
  }
}
