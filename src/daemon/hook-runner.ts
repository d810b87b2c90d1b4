/**
 * Tells one hook of its events, one after the other: its program gets the event as JSON on stdin, a deadline and a small environment.
 *
 *   waiting --an event--> running --exit 0, or any failure--> done with it --> waiting
 *                            |  ^
 *              exit code 75, |  | after a back-off
 *              cannot start  v  |
 *                          waiting for another try
 *
 * An event is done with only once its program has ended: what a crash or the end of the daemon cuts off is told again.
 */
import type { HookConfig } from '../config/hooks-schema.ts';
import { errnoOf, messageOf } from '../errors.ts';
import { hookPayload } from '../observe/hook-payload.ts';
import type { HookSeries } from '../observe/hook-series.ts';
import type { HookFacts, HookOutcome } from '../observe/hooks.ts';
import type { EventRow } from '../store/events.ts';
import type { Store } from '../store/store.ts';
import type { Clock } from '../system/clock.ts';
import { childEnvironment, exec, type ExecResult } from '../system/exec.ts';
import { Wake } from '../system/limit.ts';
import { escapeText, type Log } from '../system/log.ts';

export interface HookRunnerDeps {
  readonly store: Pick<Store, 'events'>;
  readonly metrics: { readonly hooks: Pick<HookSeries, 'ended' | 'missed'> };
  readonly primary: () => string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Once aborted the program in hand is ended without waiting. */
  readonly hurry: AbortSignal;
  readonly clock: Clock;
  readonly log: Log;
}

/** EX_TEMPFAIL of sysexits.h. */
const tryAgainCode = 75;
/** A program that could not be started for want of these may be, a little later. */
const scarce = ['EAGAIN', 'ENOMEM', 'EMFILE', 'ENFILE'];
const firstWaitMs = 5000;
const waitCapMs = 5 * 60_000;
/** Events wake; this is for one that got lost. */
const lookMs = 60_000;
/** How long the end of the daemon, or of the hook, waits for the program in hand; then TERM, then KILL. */
const graceMs = 3000;
const killAfterMs = 2000;
/** The last characters of the program's output that a failure shows. */
const outputShown = 2000;

interface Run {
  readonly outcome: HookOutcome;
  readonly exitCode: number | null;
  readonly detail: string | null;
}

export class HookRunner {
  readonly #config: HookConfig;
  readonly #deps: HookRunnerDeps;
  readonly #wake = new Wake();
  /** Done up to this event, whether that could be written down or not. */
  #told = 0;
  #running = false;
  #dropped = 0;
  #last: HookFacts['last'] = null;

  constructor(config: HookConfig, deps: HookRunnerDeps) {
    this.#config = config;
    this.#deps = deps;
    this.#dropped = deps.store.events.queueOf(config.name, 0).dropped;
  }

  get facts(): HookFacts {
    const { name, on } = this.#config;
    const queue = this.#deps.store.events.queueOf(name, this.#told);
    return { name, on, running: this.#running, ...queue, last: this.#last };
  }

  /** Something may have happened. */
  wake(): void {
    this.#wake.wake();
  }

  /** Runs until aborted; failures of the program are logged, never thrown. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    for (let failures = 0; ; ) {
      signal.throwIfAborted();
      const event = this.#next();
      if (event === null) {
        await this.#wake.wait((stop) => clock.sleep(lookMs, { signal: AbortSignal.any([signal, stop]) }));
        continue;
      }
      const { outcome } = await this.#tell(event, signal);
      if (outcome === 'aborted') continue;
      if (outcome === 'again') {
        await clock.sleep(Math.min(waitCapMs, firstWaitMs * 2 ** Math.min(failures++, 10)), { signal });
        continue;
      }
      failures = 0;
      this.#done(event);
    }
  }

  #next(): EventRow | null {
    const { store, metrics, log } = this.#deps;
    const { name } = this.#config;
    const { dropped } = store.events.queueOf(name, this.#told);
    const missed = dropped - this.#dropped;
    this.#dropped = dropped;
    if (missed > 0) {
      metrics.hooks.missed(name, missed);
      log.error('hook_events_dropped', { hook: name, events: missed });
    }
    return store.events.next(name, this.#told);
  }

  #done({ id }: EventRow): void {
    this.#told = id;
    try {
      this.#deps.store.events.told(this.#config.name, id);
    } catch (error) {
      const detail = messageOf(error);
      this.#deps.log.error('hook_state_not_saved', { hook: this.#config.name, id, detail });
    }
  }

  async #tell(event: EventRow, signal: AbortSignal): Promise<Run> {
    const { clock, metrics, log } = this.#deps;
    const { name: hook } = this.#config;
    const startedAt = clock.monotonic();
    this.#running = true;
    let run: Run;
    try {
      run = await this.#run(event, signal);
    } finally {
      this.#running = false;
    }
    const { outcome, exitCode, detail } = run;
    const seconds = Math.round(clock.monotonic() - startedAt) / 1000;
    metrics.hooks.ended(hook, outcome, seconds);
    this.#last = { outcome, endedAtMs: clock.now(), detail };
    const fields = { hook, on: event.facts.event, id: event.id, outcome, exit_code: exitCode, seconds };
    if (outcome === 'ok') log.info('hook_ended', fields);
    else log.warn('hook_failed', { ...fields, detail: detail ?? '' });
    return run;
  }

  async #run({ id, atMs, facts }: EventRow, signal: AbortSignal): Promise<Run> {
    const { store, primary, env, clock, hurry } = this.#deps;
    const published = facts.event === 'published' ? store.events.publishedFacts(facts.generation) : null;
    const payload = hookPayload({ id, atMs, facts }, primary(), published);
    const ended = new AbortController();
    const end = new AbortController();
    const ending = endAfter(graceMs, { signal, hurry, ended: ended.signal, clock }).then((due) => due && end.abort());
    try {
      const result = await exec(this.#config.command, {
        env: childEnvironment({
          LOCKSTEPD_HOOK: this.#config.name,
          LOCKSTEPD_EVENT: facts.event,
          LOCKSTEPD_SUMMARY: escapeText(payload.summary),
          ...(env.CREDENTIALS_DIRECTORY === undefined ? {} : { CREDENTIALS_DIRECTORY: env.CREDENTIALS_DIRECTORY }),
        }),
        cwd: '/',
        input: `${JSON.stringify(payload, null, 1)}\n`,
        timeoutMs: this.#config.timeoutMs,
        killAfterMs,
        group: true,
        signal: end.signal,
      });
      return this.#judge(result);
    } catch (error) {
      if (end.signal.aborted) return { outcome: 'aborted', exitCode: null, detail: 'ended because the daemon stops' };
      const outcome = scarce.includes(errnoOf(error) ?? '') ? 'again' : 'failed';
      return { outcome, exitCode: null, detail: `cannot be started: ${messageOf(error)}` };
    } finally {
      ended.abort();
      await ending;
    }
  }

  #judge({ code, signal, stdout, stderr, timedOut }: ExecResult): Run {
    const said = (stderr.trim() === '' ? stdout : stderr).trim().slice(-outputShown);
    const withOutput = (what: string): string => (said === '' ? what : `${what}: ${said}`);
    if (timedOut)
      return {
        outcome: 'timeout',
        exitCode: code,
        // A program that it left in the background keeps the output open, and the next event waiting.
        detail: withOutput(
          code === null
            ? `ended after ${this.#config.timeoutMs / 1000} s`
            : `exit code ${code}, but what it started was still running after ${this.#config.timeoutMs / 1000} s`,
        ),
      };
    if (code === 0) return { outcome: 'ok', exitCode: 0, detail: null };
    if (code === tryAgainCode)
      return { outcome: 'again', exitCode: code, detail: withOutput('asks to be tried again') };
    return {
      outcome: 'failed',
      exitCode: code,
      detail: withOutput(code === null ? `killed by ${signal}` : `exit code ${code}`),
    };
  }
}

/** Resolves true `graceMs` after `signal` is aborted, or as soon as `hurry` is after that; false when `ended` comes first. */
async function endAfter(
  ms: number,
  {
    signal,
    hurry,
    ended,
    clock,
  }: { readonly signal: AbortSignal; readonly hurry: AbortSignal; readonly ended: AbortSignal; readonly clock: Clock },
): Promise<boolean> {
  await abortedOne([signal, ended]);
  if (ended.aborted) return false;
  await clock.sleep(ms, { signal: AbortSignal.any([hurry, ended]) }).catch(() => {});
  return !ended.aborted;
}

function abortedOne(signals: readonly AbortSignal[]): Promise<void> {
  return new Promise((resolve) => {
    const either = AbortSignal.any([...signals]);
    if (either.aborted) resolve();
    else either.addEventListener('abort', () => resolve(), { once: true });
  });
}
