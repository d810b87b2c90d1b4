/** Reads the configuration again and applies it, or keeps the old one; tells of it in the log, the metrics and the status. */
import type { Config } from '../config/schema.ts';
import { ConfigError, messageOf, OperationError } from '../errors.ts';
import type { ConfigFacts } from '../observe/config.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { Clock } from '../system/clock.ts';
import type { Mutex } from '../system/limit.ts';
import type { Log } from '../system/log.ts';
import type { Notifier } from '../system/notify.ts';
import { applyReload, type RunningParts } from './apply.ts';
import { planReload, type ReloadPlan } from './reload.ts';
import { Unfinished } from './unfinished.ts';

export interface ReloaderDeps {
  /** The configuration that the daemon starts with. */
  readonly config: Config;
  /** Reads the configuration again. Throws ConfigError. */
  readonly loadConfig: () => Promise<Config>;
  readonly running: () => RunningParts;
  /** False before the start is over, and once the daemon stops. */
  readonly isRunning: () => boolean;
  /** Nothing else changes which services run meanwhile. */
  readonly changes: Mutex;
  readonly notifier: Notifier;
  /** One line for the service manager. */
  readonly status: () => string;
  readonly metrics: Pick<Metrics, 'configReload'>;
  readonly clock: Clock;
  readonly log: Log;
}

export class Reloader {
  readonly #deps: ReloaderDeps;
  readonly #unfinished: Unfinished;
  #facts: ConfigFacts;
  /** Asked for and not begun. */
  #next: Promise<string> | null = null;

  constructor(deps: ReloaderDeps) {
    const atMs = deps.clock.now();
    this.#deps = deps;
    this.#unfinished = new Unfinished(deps);
    this.#facts = { file: deps.config.file, loadedAtMs: atMs, failedAtMs: null, problems: [], needsRestart: [] };
    deps.metrics.configReload(true, atMs);
  }

  get facts(): ConfigFacts {
    return { ...this.#facts, problems: [...this.#facts.problems, ...this.#unfinished.problems] };
  }

  /** Does what a reload left unfinished, until aborted. */
  run(signal: AbortSignal): Promise<void> {
    const { changes, isRunning } = this.#deps;
    return this.#unfinished.run((work) => changes.run(async () => (isRunning() ? work() : undefined)), signal);
  }

  /**
   * Returns one line that says what changed. Throws ConfigError for a bad file, and nothing was applied then; OperationError STATE
   * when the daemon is starting or stopping. However often one is asked for, one at most waits: it reads the file once it begins.
   */
  reload(): Promise<string> {
    const { changes, isRunning, notifier, status } = this.#deps;
    this.#next ??= changes.run(async () => {
      this.#next = null;
      if (!isRunning()) throw new OperationError('STATE', 'reload: the daemon is not running');
      await notifier.reloading();
      try {
        return await this.#reload();
      } finally {
        await notifier.ready(status());
      }
    });
    return this.#next;
  }

  async #reload(): Promise<string> {
    const { loadConfig, running, metrics, clock, log } = this.#deps;
    const atMs = clock.now();
    const parts = running();
    let plan: ReloadPlan | null = null;
    try {
      plan = planReload(parts.config, await loadConfig());
      await applyReload(plan, parts, this.#unfinished);
    } catch (error) {
      const problems = error instanceof ConfigError ? error.message.split('\n') : [messageOf(error)];
      this.#facts = { ...this.#facts, failedAtMs: atMs, problems };
      metrics.configReload(false, atMs);
      const kept = plan === null ? 'the old configuration' : 'what was applied before';
      log.error('reload_failed', { detail: messageOf(error), kept });
      throw error instanceof ConfigError ? error : new Error(messageOf(error), { cause: error });
    }
    const { changed, needsRestart, config } = plan;
    this.#facts = { file: config.file, loadedAtMs: atMs, failedAtMs: null, problems: [], needsRestart };
    metrics.configReload(true, atMs);
    for (const key of needsRestart) log.warn('reload_needs_restart', { key });
    log.info('reloaded', { config: config.file, changed });
    const lines = [
      changed.length === 0 ? 'reloaded: nothing has changed' : `reloaded: changed ${changed.join(', ')}`,
      ...(needsRestart.length === 0 ? [] : [`only a restart changes ${needsRestart.join(', ')}`]),
      ...this.#unfinished.problems,
    ];
    return lines.join('; ');
  }
}
