/** Reads the configuration again and has it applied, or keeps the old one; tells of it in the log, the metrics and the status. */
import type { Config } from '../config/schema.ts';
import { ConfigError, messageOf } from '../errors.ts';
import type { ConfigFacts } from '../observe/config.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { Clock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';
import { planReload, type ReloadPlan } from './reload.ts';
import { Unfinished } from './unfinished.ts';

export interface ReloaderDeps {
  readonly loadConfig: () => Promise<Config>;
  readonly metrics: Pick<Metrics, 'configReload'>;
  readonly clock: Clock;
  readonly log: Log;
}

export class Reloader {
  readonly #deps: ReloaderDeps;
  readonly unfinished: Unfinished;
  #facts: ConfigFacts;

  constructor({ file }: Config, deps: ReloaderDeps) {
    this.#deps = deps;
    this.unfinished = new Unfinished(deps);
    this.#facts = { file, loadedAtMs: deps.clock.now(), failedAtMs: null, problems: [], needsRestart: [] };
    deps.metrics.configReload(true, deps.clock.now());
  }

  get facts(): ConfigFacts {
    return { ...this.#facts, problems: [...this.#facts.problems, ...this.unfinished.problems] };
  }

  /** Returns one line that says what changed. Throws ConfigError for a bad file; nothing was applied then. */
  async reload(old: Config, apply: (plan: ReloadPlan) => Promise<void>): Promise<string> {
    const { loadConfig, metrics, clock, log } = this.#deps;
    const atMs = clock.now();
    let plan: ReloadPlan | null = null;
    try {
      plan = planReload(old, await loadConfig());
      await apply(plan);
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
      ...this.unfinished.problems,
    ];
    return lines.join('; ');
  }
}
