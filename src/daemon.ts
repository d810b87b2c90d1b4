/** The composition root: builds every part from the configuration, runs the services, reloads, drains and stops. */
import { chmod } from 'node:fs/promises';
import type { Config, InboxConfig } from './config/schema.ts';
import type { RunningParts } from './daemon/apply.ts';
import { Announcers } from './daemon/announcers.ts';
import { forgetBuilders } from './daemon/builders.ts';
import { type ControlDeps, controlHandlers } from './daemon/control.ts';
import { controlDepsOf } from './daemon/control-deps.ts';
import { gatherFacts, statusLine, targetsOf } from './daemon/facts.ts';
import { createInbox, ingestDeps, type InboxParts, upstreamsOf } from './daemon/inboxes.ts';
import { Fleet } from './daemon/fleet.ts';
import { Hooks } from './daemon/hooks.ts';
import { KeyKeeper } from './daemon/keys.ts';
import { lockAll, openState } from './daemon/locks.ts';
import { rebuildFromTrees } from './daemon/rebuild.ts';
import { hashRebuilt, type RehashDeps } from './daemon/rebuild-files.ts';
import { Past } from './daemon/past.ts';
import { Reloader } from './daemon/reloader.ts';
import { Supervisor } from './daemon/supervisor.ts';
import { ScrubService } from './daemon/scrub.ts';
import { keepBeating, keepHouse, keepQuarantine, startWatchdog } from './daemon/timers.ts';
import { Quarantine } from './ingest/quarantine.ts';
import { Metrics } from './observe/metrics.ts';
import { Prober } from './observe/probe.ts';
import { addressText, type RunningServer, startServer } from './observe/server.ts';
import { statusView } from './observe/status.ts';
import { Publisher } from './publish/publisher.ts';
import type { Store } from './store/store.ts';
import type { Clock } from './system/clock.ts';
import { freeBytes } from './system/durable.ts';
import { Mutex } from './system/limit.ts';
import type { Log, LogLevel } from './system/log.ts';
import { createNotifier, type Notifier } from './system/notify.ts';
import { Verifier } from './trust/verify.ts';

export interface DaemonOptions {
  readonly config: Config;
  /** Reads the configuration again, for a reload. Throws ConfigError. */
  readonly loadConfig: () => Promise<Config>;
  readonly version: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  /** Absent where a reload cannot change it. */
  readonly setLogLevel?: (level: LogLevel) => void;
}

/** A push in hand may take this long to end once the daemon stops. */
const drainMs = 20_000;
/** A loop that shows no progress for so long is stuck: longer than any single step may take by its own deadline. */
const stuckAfterMs = 10 * 60_000;

export class Daemon {
  readonly #options: DaemonOptions;
  readonly #supervisor: Supervisor;
  readonly #failure = Promise.withResolvers<never>();
  readonly #store: Store;
  readonly #verifier: Verifier;
  readonly #publisher: Publisher;
  readonly #metrics: Metrics;
  readonly #quarantine: Quarantine;
  readonly #notifier: Notifier;
  readonly #keys: KeyKeeper;
  readonly #scrub: ScrubService;
  readonly #announcers: Announcers;
  readonly #hooks: Hooks;
  readonly #reloader: Reloader;
  readonly #inboxes = new Map<string, InboxParts>();
  readonly #fleet: Fleet;
  readonly #past: Past;
  readonly #locks: Disposable;
  /** Start and reloads change which services run: one after the other. */
  readonly #changes = new Mutex();
  #stopping = false;
  #config: Config;
  #server: RunningServer | null = null;
  #ready = false;
  #beatAt: number;

  constructor(options: DaemonOptions) {
    const { config, clock, log, version } = options;
    this.#options = options;
    this.#config = config;
    this.#beatAt = clock.monotonic();
    this.#locks = lockAll(config);
    this.#store = openState(config.state, clock, log);
    this.#verifier = new Verifier({ workers: config.workers });
    this.#publisher = new Publisher(
      { root: config.root, ...config.publish },
      { store: this.#store, clock, log, mirrors: () => this.#fleet.names },
    );
    this.#metrics = new Metrics({ version, ...targetsOf(config) });
    const prober = new Prober({ version, clock });
    this.#notifier = createNotifier({ env: options.env, log });
    this.#supervisor = new Supervisor(log, (error) => this.#failure.reject(error));
    const parts = {
      store: this.#store,
      publisher: this.#publisher,
      metrics: this.#metrics,
      supervisor: this.#supervisor,
    };
    this.#announcers = new Announcers({ ...options, ...parts });
    this.#hooks = new Hooks({ ...options, ...parts });
    this.#reloader = new Reloader({
      ...options,
      ...parts,
      notifier: this.#notifier,
      changes: this.#changes,
      running: () => this.#parts(),
      isRunning: () => this.#ready && !this.#stopping,
      status: () => statusLine(this.#facts()),
    });
    const keyring = (builder: string) => this.#keys.keyring(builder);
    const trust = { keyring, verifier: this.#verifier };
    this.#fleet = new Fleet({ ...options, ...parts, ...trust, prober, config: () => this.#config });
    this.#past = new Past({ ...options, store: this.#store, mirrors: () => this.#fleet.sources() });
    const onChange = (builder: string): void => this.#inboxes.get(builder)?.service.wake();
    this.#keys = new KeyKeeper({ store: this.#store, clock, log, onChange });
    const [{ root }, { batches }] = [config, this.#store];
    this.#quarantine = new Quarantine({ root, batches, limits: () => this.#config.quarantine, clock });
    this.#scrub = new ScrubService({
      ...options,
      store: this.#store,
      publisher: this.#publisher,
      verifier: this.#verifier,
      config: () => this.#config,
      targets: () => this.#fleet.served(),
    });
    // Nobody may be waiting yet when the first service fails.
    this.#failure.promise.catch(() => {});
  }

  /** Where the status page is; null before `start`. */
  get address(): { readonly host: string; readonly port: number } | null {
    return this.#server?.address ?? null;
  }

  /** Recovers, starts every service and serves. Throws OperationError STATE when another daemon uses the root or the state. */
  start(): Promise<void> {
    return this.#changes.run(() => this.#start());
  }

  async #start(): Promise<void> {
    const { log, version } = this.#options;
    await this.#keys.configure(this.#config);
    this.#server = await startServer({
      listen: this.#config.listen,
      listenPublic: this.#config.listenPublic,
      socket: this.#config.socket,
      log,
      clock: this.#options.clock,
      handlers: {
        metrics: () => this.#renderMetrics(),
        status: () => statusView(this.#facts(), this.#options.clock.now()),
        history: () => this.#past.recent(),
        checkSeconds: () => this.#config.schedule.probeMs / 1000,
        alive: () => this.#isAlive(),
        ready: () => this.#ready,
        control: controlHandlers(this.#controlDeps()),
      },
    });
    await chmod(this.#config.socket, 0o660);
    const keyring = this.#keys.keyring.bind(this.#keys);
    await rebuildFromTrees({ ...this.#readers(), config: this.#config, keyring });
    await this.#publisher.recover();
    await forgetBuilders(this.#config, [], this.#store.batches);
    await this.#hooks.configure(this.#config);
    this.#fleet.start();
    for (const inbox of this.#config.inboxes) this.#startInbox(inbox);
    await this.#announcers.configure(this.#config.announce);
    this.#startTimers();
    this.#ready = true;
    log.info('started', {
      version,
      config: this.#config.file,
      generation: this.#facts().generation,
      listen: addressText(this.#server.address),
      listen_public: addressText(this.#server.publicAddress),
    });
    await this.#notifier.ready(statusLine(this.#facts()));
  }

  /** Resolves only by rejecting, when a service fails by itself. */
  failed(): Promise<never> {
    return this.#failure.promise;
  }

  /** Takes no new work, lets pushes in hand end for a while (not at all once `now` is aborted), then ends everything. */
  async stop(now: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    log.info('stopping');
    this.#stopping = true;
    await this.#notifier.stopping();
    // A reload in hand would start services that nobody ends.
    await this.#changes.run(async () => {});
    this.#hooks.hurryOn(now);
    const lasting = (name: string): boolean => this.#fleet.brings(name) || name.startsWith('hook:');
    await this.#supervisor.stop((name) => !lasting(name) && name !== 'watchdog');
    this.#fleet.drain();
    await this.#supervisor.endedWithin((name) => name.startsWith('mirror:'), { ms: drainMs, clock, signal: now });
    await this.#supervisor.stop(() => true);
    await this.#publisher.stop();
    await this.#server?.close();
    await this.#keys[Symbol.asyncDispose]();
    for (const { watcher } of this.#inboxes.values()) await watcher[Symbol.asyncDispose]();
    await this.#verifier[Symbol.asyncDispose]();
    this.#past.save();
    this.#store[Symbol.dispose]();
    this.#locks[Symbol.dispose]();
    log.info('stopped');
  }

  /**
   * Reads the configuration again and applies what changed; a bad file keeps the old one. What only a restart can change is said
   * in the log. Returns one line that says what changed. Throws ConfigError for a bad file, OperationError STATE when the daemon is
   * stopping.
   */
  reload(): Promise<string> {
    return this.#reloader.reload();
  }

  #parts(): RunningParts {
    return {
      config: this.#config,
      supervisor: this.#supervisor,
      inboxes: this.#inboxes,
      fleet: this.#fleet,
      keys: this.#keys,
      metrics: this.#metrics,
      announcers: this.#announcers,
      hooks: this.#hooks,
      scrub: this.#scrub,
      store: this.#store,
      use: (config) => {
        this.#config = config;
        this.#options.setLogLevel?.(config.log.level);
      },
      startInbox: (inbox) => this.#startInbox(inbox),
    };
  }

  #startInbox(config: InboxConfig): void {
    const deps = ingestDeps(config, {
      ...this.#options,
      store: this.#store,
      verifier: this.#verifier,
      keys: this.#keys,
      quarantine: this.#quarantine,
      config: () => this.#config,
      publish: async (batch) => {
        using _ = this.#scrub.giveWay();
        const generation = await this.#publisher.publish(batch);
        this.#fleet.wake();
        this.#keys.wake();
        this.#announcers.wake();
        return generation;
      },
    });
    const parts = createInbox(config, deps, this.#metrics);
    this.#inboxes.set(config.builder, parts);
    this.#supervisor.start(`inbox:${config.builder}`, (signal) => parts.service.run(signal));
  }

  #startTimers(): void {
    const { clock, log } = this.#options;
    this.#supervisor.start('keys', (signal) => this.#keys.run(signal));
    this.#supervisor.start('rehash', (signal) => hashRebuilt(this.#readers(), signal));
    this.#supervisor.start('housekeeping', (signal) => keepHouse(this.#publisher, clock, log, signal));
    this.#supervisor.start('quarantine', (signal) => keepQuarantine(this.#quarantine, clock, log, signal));
    const beat = (): string => {
      this.#beatAt = clock.monotonic();
      const facts = this.#facts();
      this.#past.note(facts);
      return statusLine(facts);
    };
    this.#supervisor.start('heartbeat', (signal) => keepBeating(beat, this.#notifier, clock, signal));
    startWatchdog(this.#supervisor, () => this.#isAlive(), this.#notifier, clock);
    this.#supervisor.start('unfinished', (signal) => this.#reloader.run(signal));
    this.#supervisor.start('scrub', (signal) => this.#scrub.run(signal));
    this.#supervisor.start('scrub-schedule', (signal) => this.#scrub.schedule(signal));
  }

  /** What reads the published tree again. */
  #readers(): RehashDeps {
    const { clock, log } = this.#options;
    return { store: this.#store, publisher: this.#publisher, verifier: this.#verifier, clock, log };
  }

  #controlDeps(): ControlDeps {
    return controlDepsOf({
      ...this.#options,
      config: () => this.#config,
      store: this.#store,
      publisher: this.#publisher,
      verifier: this.#verifier,
      keys: this.#keys,
      inboxes: this.#inboxes,
      fleet: this.#fleet,
      quarantine: this.#quarantine,
      facts: () => this.#facts(),
      ready: () => this.#ready && !this.#stopping,
      reload: () => this.reload(),
      scrub: () => this.#scrub.ask(),
      announce: () => this.#announcers.wake(),
    });
  }

  #facts(): ReturnType<typeof gatherFacts> {
    return gatherFacts(this.#store, {
      mirrors: this.#fleet.sources(),
      keys: this.#keys,
      scrub: this.#scrub.status,
      announcements: this.#announcers.facts(),
      hooks: this.#hooks.facts(),
      config: this.#reloader.facts,
      switching: this.#fleet.switching,
      upstreams: upstreamsOf(this.#inboxes.values()),
      nowMs: this.#options.clock.now(),
    });
  }

  async #renderMetrics(): Promise<string> {
    const [root, state] = await Promise.all([freeBytes(this.#config.root), freeBytes(this.#config.state)]);
    const [facts, now] = [this.#facts(), this.#options.clock.now()];
    this.#fleet.arrivals.look(facts, now);
    return this.#metrics.render(facts, now, { root, state });
  }

  #isAlive(): boolean {
    const now = this.#options.clock.monotonic();
    const oldest = Math.min(this.#beatAt, ...[...this.#inboxes.values()].map(({ service }) => service.progressAt));
    return now - oldest < stuckAfterMs;
  }
}
