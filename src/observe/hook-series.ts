/** The series of hooks among the metrics: what ran how and how long, what waits, what was missed. */
import { type HookFacts, type HookOutcome, hookOutcomes } from './hooks.ts';

type Labels = Readonly<Record<string, string>>;
interface Series {
  remove(labels: Labels): void;
}

/** The parts of prom-client's types that are used here. */
export interface HookMetrics {
  readonly runs: Series & { inc(labels: Labels, by?: number): void };
  readonly dropped: Series & { inc(labels: Labels, by?: number): void };
  readonly seconds: Series & { observe(labels: Labels, value: number): void; zero(labels: Labels): void };
  readonly pending: { reset(): void; set(labels: Labels, value: number): void };
}

/** Calls about hooks that the configuration does not name are dropped. */
export class HookSeries {
  readonly #metrics: HookMetrics;
  #hooks: readonly string[] = [];

  constructor(metrics: HookMetrics) {
    this.#metrics = metrics;
  }

  /** Series of hooks that are gone are removed, those of new ones start at 0. */
  setTargets(hooks: readonly string[]): void {
    const { runs, dropped, seconds } = this.#metrics;
    for (const hook of this.#hooks.filter((name) => !hooks.includes(name))) {
      for (const outcome of hookOutcomes) runs.remove({ hook, outcome });
      for (const series of [dropped, seconds]) series.remove({ hook });
    }
    for (const hook of hooks.filter((name) => !this.#hooks.includes(name))) {
      for (const outcome of hookOutcomes) runs.inc({ hook, outcome }, 0);
      dropped.inc({ hook }, 0);
      seconds.zero({ hook });
    }
    this.#hooks = [...hooks];
  }

  /** One run of a hook's program has ended. */
  ended(hook: string, outcome: HookOutcome, seconds: number): void {
    if (!this.#hooks.includes(hook)) return;
    this.#metrics.runs.inc({ hook, outcome });
    this.#metrics.seconds.observe({ hook }, seconds);
  }

  /** The hook has missed events. */
  missed(hook: string, events: number): void {
    if (this.#hooks.includes(hook)) this.#metrics.dropped.inc({ hook }, events);
  }

  render(facts: readonly HookFacts[]): void {
    this.#metrics.pending.reset();
    for (const { name: hook, pending } of facts) this.#metrics.pending.set({ hook }, pending);
  }
}
