/** Lets the mirrors show a new generation together: asks the coordinator when something has changed, wakes the workers, names stragglers. */
import type { Config } from '../config/schema.ts';
import { decideSwitch, type Member, stragglersOf, type TogetherPort } from '../replicate/together.ts';
import type { Store } from '../store/store.ts';
import type { Clock } from '../system/clock.ts';
import { Wake } from '../system/limit.ts';
import type { Log } from '../system/log.ts';
import type { SwitchStatus } from '../observe/switch.ts';

export interface TogetherDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  readonly config: () => Config;
  /** The mirrors to which we push, as they are now. */
  readonly members: () => readonly Member[];
  /** The workers are to look again. */
  readonly onGo: () => void;
}

/** While mirrors wait, what nobody tells of (one was blocked, a window began) is looked at this often. */
const lookMs = 1000;

export class Together {
  readonly #deps: TogetherDeps;
  readonly #wake = new Wake();
  /** The newest generation that may be shown. */
  #gone = 0;
  #status: SwitchStatus | null = null;
  /** So many mirrors more must have the packages before another look can find a quorum. */
  #lacking = 0;
  /** Since when, on the monotonic clock, the first generation that no mirror shows is known to wait. */
  #begun: { readonly first: number; readonly atMs: number } | null = null;

  constructor(deps: TogetherDeps) {
    this.#deps = deps;
  }

  /** What `/status.json` tells; null when each mirror switches by itself. */
  get status(): SwitchStatus | null {
    return this.#isOn() ? this.#status : null;
  }

  /** What the push of one mirror is given. */
  portOf(mirror: string): TogetherPort {
    return {
      mayShow: (generation) => !this.#isOn() || generation <= this.#gone,
      staged: (generation) => {
        this.#deps.store.mirrors.staged(mirror, generation);
        this.#deps.log.info('mirror_staged', { mirror, generation });
        // A look asks for all mirrors: not once for each of hundreds. Who is not waited for any more, `run` finds.
        if (generation === this.#status?.generation && --this.#lacking > 0) return;
        this.review();
        this.#wake.wake();
      },
    };
  }

  /** Whether something is waited for, and what for. To be called when a generation has come out. */
  review(): void {
    const { store, clock, log, config, members } = this.#deps;
    const current = store.generations.current();
    if (!this.#isOn() || current === null || current.number <= this.#gone) return;
    const all = members();
    const shown = Math.max(0, ...all.map(({ shows }) => shows ?? 0));
    const { quorum, deadlineMs } = config().switch;
    const generation = current.number;
    const first = Math.min(shown + 1, generation);
    if (this.#begun?.first !== first) this.#begun = { first, atMs: clock.monotonic() };
    const publishedAtMs = store.generations.publishedAt(first) ?? current.publishedAtMs;
    // A wall clock that was set back must not stretch the wait.
    const waitingSinceMs = Math.min(publishedAtMs, clock.now() - (clock.monotonic() - this.#begun.atMs));
    const facts = { generation, waitingSinceMs, members: all, quorum, deadlineMs };
    const decision = decideSwitch(facts, clock.now());
    const stragglers = stragglersOf(all, generation);
    const waits = decision.verdict === 'wait';
    const untilMs = decision.verdict === 'wait' ? decision.untilMs : null;
    const wasWaiting = this.#status?.waits === true && this.#status.generation === generation;
    this.#status = { generation, waits, has: decision.has, of: all.length, stragglers, untilMs };
    if (decision.verdict === 'wait') {
      this.#lacking = decision.needs - decision.has;
      if (!wasWaiting) {
        log.info('switch_waits', { generation, has: decision.has, needs: decision.needs });
        this.#wake.wake();
      }
      return;
    }
    this.#gone = generation;
    const { because, has } = decision;
    const isLate = stragglers.length > 0 && because !== 'nobody';
    log[isLate ? 'warn' : 'info']('switch_goes', {
      generation,
      because,
      has,
      of: all.length,
      stragglers: stragglers.join(', '),
    });
    this.#deps.onGo();
  }

  /** The settings may be others. */
  configure(): void {
    this.review();
    this.#deps.onGo();
    this.#wake.wake();
  }

  async run(signal: AbortSignal): Promise<void> {
    const onAbort = (): void => this.#wake.wake();
    signal.addEventListener('abort', onAbort);
    try {
      for (;;) {
        signal.throwIfAborted();
        this.review();
        await this.#rest(signal);
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  async #rest(signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    const waits = this.#isOn() && this.#status?.waits === true;
    const ms = waits ? Math.min(lookMs, this.#untilMs() - clock.now()) : 3_600_000;
    await this.#wake.wait((stop) => clock.sleep(Math.max(1, ms), { signal: AbortSignal.any([signal, stop]) }));
  }

  #untilMs(): number {
    return this.#status?.untilMs ?? this.#deps.clock.now() + lookMs;
  }

  #isOn(): boolean {
    return this.#deps.config().switch.mode === 'together';
  }
}
