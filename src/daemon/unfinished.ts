/** Keeps the steps of a reload that could not be done, because state.db could not be written for instance, and does them when it can. */
import { messageOf } from '../errors.ts';
import type { Clock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';

interface Step {
  readonly work: () => void | Promise<void>;
  readonly problem: string;
}

const tryAgainMs = 5000;

export class Unfinished {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #steps = new Map<string, Step>();

  constructor({ clock, log }: { readonly clock: Clock; readonly log: Log }) {
    this.#clock = clock;
    this.#log = log;
  }

  /** Each step that is not done, with why. */
  get problems(): string[] {
    return [...this.#steps].map(([what, { problem }]) => `not done yet: ${what}: ${problem}`);
  }

  /** Does the step, which may be done twice; when it fails it is kept in place of an older one of that name. Never throws. */
  async do(what: string, work: Step['work']): Promise<void> {
    const known = this.#steps.get(what)?.problem;
    try {
      await work();
      this.#steps.delete(what);
      if (known !== undefined) this.#log.info('reload_finished', { what });
    } catch (error) {
      const problem = messageOf(error);
      if (problem !== known) this.#log.error('reload_unfinished', { what, detail: problem });
      this.#steps.set(what, { work, problem });
    }
  }

  /** Tries again now and then until aborted; `alone` runs what it is given when no reload runs. */
  async run(alone: (work: () => Promise<void>) => Promise<void>, signal: AbortSignal): Promise<void> {
    for (;;) {
      await this.#clock.sleep(tryAgainMs, { signal });
      if (this.#steps.size === 0) continue;
      await alone(async () => {
        for (const [what, { work }] of this.#steps) if (!signal.aborted) await this.do(what, work);
      });
    }
  }
}
