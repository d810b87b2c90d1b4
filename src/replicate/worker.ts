/** The loop of one mirror: tells the state machine what happened and does what it says. One worker per mirror; none waits for another. */
import { msUntilQuiet, quietMsAt } from '../config/quiet.ts';
import { messageOf } from '../errors.ts';
import { Wake } from '../system/limit.ts';
import { type Failure, failureOf } from './backoff.ts';
import { Errands } from './errands.ts';
import {
  initialState,
  type MirrorAction,
  type MirrorEvent,
  type MirrorState,
  next,
  restMs,
  untilOf,
} from './mirror.ts';
import type { PushPort, WorkerDeps } from './ports.ts';
import type { PushProgress } from './push-progress.ts';
import { type Moment, restoredState, savedOf } from './saved-state.ts';
import type { Transport } from './transport.ts';

/** Nobody sees it; an abort without a reason would make one with a stack for each try. */
const over = new Error('the try is over');

export class MirrorWorker {
  readonly name: string;
  readonly #push: PushPort;
  readonly #deps: WorkerDeps;
  readonly #wake = new Wake();
  readonly #errands = new Errands();
  #state: MirrorState = initialState;
  /** What the store knows of the state, as text. */
  #saved: string;
  #asked = false;
  #draining = false;
  #attempts = 0;
  /** Ends the try, or the errand, in hand: so does the end of the daemon. */
  #stop: AbortController | null = null;

  constructor(name: string, push: PushPort, deps: WorkerDeps) {
    this.name = name;
    this.#push = push;
    this.#deps = deps;
    const known = deps.states.load();
    this.#saved = JSON.stringify(known.saved);
    this.#state = restoredState(known, deps.spreadMs * deps.random(), this.#moment());
  }

  get state(): MirrorState {
    return this.#state;
  }

  /** The next try as wall time, as far as that is known. */
  get nextAttemptAtMs(): number | null {
    const untilMs = untilOf(this.#state);
    const { wallMs, monotonicMs } = this.#moment();
    return untilMs === null ? null : wallMs + untilMs - monotonicMs;
  }

  get progress(): PushProgress | null {
    return this.#push.progress ?? null;
  }

  /** Pushes that were begun. */
  get attempts(): number {
    return this.#attempts;
  }

  /** Runs `work` on the mirror when no push is due, before the next one: that waits for it. Never settles when the worker ends first. */
  errand<T>(work: (transport: Transport, signal: AbortSignal) => Promise<T>): Promise<T> {
    const done = this.#errands.add(work);
    this.#wake.wake();
    return done;
  }

  /** A new generation may be out. */
  wake(): void {
    this.#wake.wake();
  }

  /** For an errand that replaces indexes. Throws TransportError when what lies there must stay, see fence.ts. */
  requireOurs(signal: AbortSignal): Promise<void> {
    return this.#push.requireOurs(signal);
  }

  /**
   * An operator wants a push now, whatever the worker waits for; `force`: and whatever the mirror holds. Nothing happens while
   * the mirror is blocked by hand.
   */
  pushNow({ force = false } = {}): void {
    if (force) this.#push.force(true);
    this.#asked = true;
    this.#wake.wake();
  }

  /**
   * No push and no errand until `unblock`, over restarts too; the one in hand ends, and what was forced is not any more. Throws
   * when that cannot be written down.
   */
  block(note: string): void {
    this.#push.force(false);
    this.#apply({ kind: 'block', note });
    this.#end();
    this.#save();
    this.#wake.wake();
  }

  /** Whatever blocked the mirror or made it wait is over. Throws when that cannot be written down. */
  unblock(): void {
    this.#apply({ kind: 'unblock' });
    this.#save();
    this.#wake.wake();
  }

  /** The push in hand was cut short and is tried again: shown until it has ended. */
  retried(failure: Failure): void {
    this.#step({ kind: 'retried', failure });
  }

  /** Finish the push in hand, take no other: `run` then returns. */
  drain(): void {
    this.#draining = true;
    this.#wake.wake();
  }

  /** Runs until drained or aborted; failures of the mirror are its state, never an exception. */
  async run(signal: AbortSignal): Promise<void> {
    const onAbort = (): void => {
      this.#stop?.abort(signal.reason);
      this.#wake.wake();
    };
    signal.addEventListener('abort', onAbort);
    try {
      while (!this.#draining) {
        signal.throwIfAborted();
        const action = this.#look();
        if (action === 'push' || action === 'check') await this.#try(action, signal);
        else if (!(await this.#errand())) await this.#rest();
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      await this.#push.close();
    }
  }

  #look(): MirrorAction | null {
    if (this.#asked) {
      this.#asked = false;
      return this.#step({ kind: 'asked' });
    }
    const quietMs = quietMsAt(this.#deps.quiet, this.#deps.clock.now());
    return this.#step({ kind: 'looked', due: this.#push.isDue(), quietMs });
  }

  /** Does one errand; false when none waits, or none may be done now. */
  async #errand(): Promise<boolean> {
    if (this.#errands.isEmpty || this.#state.phase !== 'in-sync') return false;
    if (quietMsAt(this.#deps.quiet, this.#deps.clock.now()) > 0) return false;
    const stop = new AbortController();
    this.#stop = stop;
    try {
      await this.#errands.next(this.#push.transport, stop.signal);
      return true;
    } finally {
      this.#stop = null;
    }
  }

  async #rest(): Promise<void> {
    const { clock, lookMs } = this.#deps;
    const ms = Math.min(lookMs, restMs(this.#state, clock.monotonic()) ?? lookMs);
    await this.#wake.wait((stop) => clock.sleep(ms, { signal: stop }));
  }

  async #try(action: 'push' | 'check', signal: AbortSignal): Promise<void> {
    const { clock, events, log } = this.#deps;
    const stop = new AbortController();
    this.#stop = stop;
    const inner = stop.signal;
    const ended = new AbortController();
    const watching = this.#stopWhenQuiet(ended.signal);
    const startedAt = clock.monotonic();
    try {
      if (action === 'check') {
        await this.#push.check(inner);
        inner.throwIfAborted();
        this.#step({ kind: 'checked' });
      }
      this.#attempts++;
      const generation = await this.#push.push(inner);
      this.#step({ kind: 'succeeded' });
      events.attempt('ok');
      if (generation !== null)
        log.info('mirror_in_step', { mirror: this.name, generation, seconds: (clock.monotonic() - startedAt) / 1000 });
    } catch (error) {
      if (inner.aborted) {
        events.attempt('aborted');
        // A try that the end of the daemon cuts off has told nothing: what was written down before it holds, a block for instance.
        signal.throwIfAborted();
        this.#step({ kind: 'aborted' });
      } else this.#fail(failureOf(error));
    } finally {
      this.#stop = null;
      ended.abort(over);
      await watching;
    }
  }

  #fail(failure: Failure): void {
    const { clock, events, log, random } = this.#deps;
    this.#step({ kind: 'failed', failure, random: random() });
    const blocked = this.#state.phase === 'blocked';
    events.attempt(blocked ? 'permanent' : 'retryable');
    events.failed(failure.reason);
    log[blocked ? 'error' : 'warn'](blocked ? 'mirror_blocked' : 'push_failed', {
      mirror: this.name,
      reason: failure.reason,
      detail: failure.message,
      next_try_seconds: Math.round((restMs(this.#state, clock.monotonic()) ?? 0) / 1000),
    });
  }

  /** Tells of each quiet window that begins, until `ended`. */
  async #stopWhenQuiet(ended: AbortSignal): Promise<void> {
    const { clock, lookMs, quiet } = this.#deps;
    try {
      for (;;) {
        const leftMs = msUntilQuiet(quiet, clock.now());
        if (leftMs === null) return;
        // In steps: the wall clock, which says when that is, may be set meanwhile.
        await clock.sleep(Math.min(leftMs, lookMs), { signal: ended });
        this.#step({ kind: 'quiet', quietMs: quietMsAt(quiet, clock.now()) });
        await clock.sleep(1000, { signal: ended });
      }
    } catch (error) {
      if (!ended.aborted) throw error;
    }
  }

  /** What cannot be written down is known until the next restart at least. */
  #step(event: MirrorEvent): MirrorAction | null {
    const action = this.#apply(event);
    try {
      this.#save();
    } catch (error) {
      this.#deps.log.error('mirror_state_not_saved', { mirror: this.name, detail: messageOf(error) });
    }
    return action;
  }

  #apply(event: MirrorEvent): MirrorAction | null {
    const { state, action } = next(this.#state, event, this.#deps.clock.monotonic());
    this.#state = state;
    this.#deps.events.state?.(state);
    if (action === 'stop') this.#end();
    return action;
  }

  #end(): void {
    this.#stop?.abort(new DOMException('stopped', 'AbortError'));
  }

  #save(): void {
    const saved = savedOf(this.#state, this.#moment());
    if (saved === undefined) return;
    const { untilMs: _, ...lasting } = saved ?? { untilMs: null };
    const text = JSON.stringify(saved === null ? null : lasting);
    if (text === this.#saved) return;
    this.#deps.states.save(saved);
    this.#saved = text;
  }

  #moment(): Moment {
    const { clock } = this.#deps;
    return { wallMs: clock.now(), monotonicMs: clock.monotonic() };
  }
}
