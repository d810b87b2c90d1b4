/**
 * What a mirror's worker does next: a pure state machine. Times are milliseconds of the monotonic clock.
 *
 *            nothing is due                         looked: due, and no quiet window
 *   in-sync <-------------- behind, in-sync --------------------------------------------> pushing
 *      ^                      |        ^                                                  |  |  |
 *      |                 quiet|        |unblocked                               succeeded |  |  | failed
 *      |                      v        |                                                  |  |  |
 *      |                   waiting ----+- until is over, under 5 failures ----> pushing   |  |  |
 *      |                    ^   |                                                         |  |  |
 *      |                    |   +- until is over, 5 failures (breaker open) --> checking  |  |  |
 *      |                    |                                                   |  |      |  |  |
 *      |                    |            failed, may mend by itself             |  |checked  |  |
 *      |                    +---------------------------------------------------+  +-> pushing |
 *      |                    +------------------------------------------------------------------+
 *      +----------------------------------------------------------------------------------+  |
 *   blocked <---- failed, needs a person; or `block` from any state (the push in hand stops) --+
 *      |
 *      +- by a failure: after hours -> checking; by a person: only `unblock`
 *
 * A push by hand (`asked`) goes from every state but a block by hand, in quiet windows too. No try begins within a second of
 * the one before: until then the mirror waits (`pace`). A mirror that was blocked and fails its check stays blocked.
 */
import { breakerFailures, delayMs, type Failure, needsPerson, paceMs } from './backoff.ts';

export type BlockedBy = 'permanent' | 'security' | 'operator';
export type WaitReason = 'back-off' | 'busy' | 'disk-full' | 'quiet' | 'pace' | 'asked';

interface Block {
  readonly phase: 'blocked';
  readonly by: BlockedBy;
  /** When to look whether it was mended; null: only a person ends it. */
  readonly untilMs: number | null;
  /** Why a person blocked it. */
  readonly note: string | null;
}

type Phase =
  | { readonly phase: 'in-sync' | 'behind' }
  /** A push by hand goes on when a quiet window begins. */
  | { readonly phase: 'pushing'; readonly asked: boolean }
  /** The breaker is half open: something cheap is tried. `blocked` is what it goes back to. */
  | { readonly phase: 'checking'; readonly blocked: Block | null }
  | { readonly phase: 'waiting'; readonly why: WaitReason; readonly untilMs: number }
  | Block;

export type MirrorState = Phase & {
  /** In a row; a mirror that is only busy has not failed. */
  readonly failures: number;
  readonly lastFailure: Failure | null;
  /** When the last try began. */
  readonly lastTryMs: number | null;
};

export type MirrorEvent =
  /** The worker looked whether there is something to do. `quietMs`: how long the quiet window still lasts, 0 outside of one. */
  | { readonly kind: 'looked'; readonly due: boolean; readonly quietMs: number }
  | { readonly kind: 'asked' }
  | { readonly kind: 'checked' }
  | { readonly kind: 'succeeded' }
  /** A push was cut short, and is tried again within the same try: what it failed of is known already. */
  | { readonly kind: 'retried'; readonly failure: Failure }
  /** `random` in [0, 1). */
  | { readonly kind: 'failed'; readonly failure: Failure; readonly random: number }
  /** The try was ended by us. */
  | { readonly kind: 'aborted' }
  /** A quiet window began while a push or a check ran. */
  | { readonly kind: 'quiet'; readonly quietMs: number }
  | { readonly kind: 'block'; readonly note: string }
  | { readonly kind: 'unblock' };

/** `push` and `check` begin a try, whose end is the next event; `stop` ends the one in hand. */
export type MirrorAction = 'push' | 'check' | 'stop';

export interface MirrorStep {
  readonly state: MirrorState;
  readonly action: MirrorAction | null;
}

export const initialState: MirrorState = { phase: 'behind', failures: 0, lastFailure: null, lastTryMs: null };

export function next(state: MirrorState, event: MirrorEvent, nowMs: number): MirrorStep {
  const trying = state.phase === 'pushing' || state.phase === 'checking';
  switch (event.kind) {
    case 'looked':
      return trying ? stay(state) : looked(state, event, nowMs);
    case 'asked':
      if (trying || isBlockedByHand(state)) return stay(state);
      return isTooSoon(state, nowMs)
        ? stay(wait(state, 'asked', soonest(state)))
        : begin(state, { phase: 'pushing', asked: true }, nowMs);
    case 'checked':
      if (state.phase !== 'checking') return stay(state);
      return { state: { ...standing(state), phase: 'pushing', asked: false }, action: 'push' };
    case 'succeeded':
      if (state.phase !== 'pushing') return stay(state);
      return stay({ phase: 'in-sync', failures: 0, lastFailure: null, lastTryMs: state.lastTryMs });
    case 'retried':
      return stay(state.phase === 'pushing' ? { ...state, lastFailure: event.failure } : state);
    case 'failed':
      return trying ? stay(failed(state, event.failure, event.random, nowMs)) : stay(state);
    case 'aborted':
      if (state.phase === 'checking' && state.blocked) return stay({ ...standing(state), ...state.blocked });
      return stay(trying ? { ...standing(state), phase: 'behind' } : state);
    case 'quiet': {
      if (!trying || (state.phase === 'pushing' && state.asked) || event.quietMs <= 0) return stay(state);
      const untilMs = nowMs + event.quietMs;
      // A check would lead to a push.
      const blocked = state.phase === 'checking' ? state.blocked : null;
      const after = blocked ? { ...standing(state), ...blocked, untilMs } : wait(state, 'quiet', untilMs);
      return { state: after, action: 'stop' };
    }
    case 'block': {
      const blocked = { phase: 'blocked', by: 'operator', untilMs: null, note: event.note } as const;
      return { state: { ...standing(state), ...blocked }, action: trying ? 'stop' : null };
    }
    case 'unblock': {
      const { phase, lastTryMs } = state;
      const fresh = { failures: 0, lastFailure: null, lastTryMs };
      return stay(
        phase === 'blocked' || phase === 'waiting' ? { ...fresh, phase: 'behind' } : { ...state, failures: 0 },
      );
    }
    default:
      return event satisfies never;
  }
}

/** How long nothing happens by itself; null: that depends on others. */
export function restMs(state: MirrorState, nowMs: number): number | null {
  const untilMs = untilOf(state);
  return untilMs === null ? null : Math.max(0, untilMs - nowMs);
}

/** When the next try is due, as far as that is known. */
export function untilOf(state: MirrorState): number | null {
  return state.phase === 'waiting' || state.phase === 'blocked' ? state.untilMs : null;
}

export type Breaker = 'closed' | 'half-open' | 'open';

/** Open: no whole push is tried. Half-open: a cheap try runs, or the push after it. */
export function breakerOf(state: MirrorState): Breaker {
  if (state.phase === 'blocked') return 'open';
  if (state.phase === 'checking') return 'half-open';
  if (state.failures < breakerFailures) return 'closed';
  return state.phase === 'pushing' ? 'half-open' : 'open';
}

/** Who or what keeps the mirror blocked; also while it is asked whether it was mended. */
export function blockOf(state: MirrorState): { readonly by: BlockedBy; readonly note: string | null } | null {
  if (state.phase === 'blocked') return state;
  return state.phase === 'checking' ? state.blocked : null;
}

function stay(state: MirrorState): MirrorStep {
  return { state, action: null };
}

function standing({ failures, lastFailure, lastTryMs }: MirrorState) {
  return { failures, lastFailure, lastTryMs };
}

function isBlockedByHand(state: MirrorState): boolean {
  return state.phase === 'blocked' && state.by === 'operator';
}

function soonest({ lastTryMs }: MirrorState): number {
  return lastTryMs === null ? Number.NEGATIVE_INFINITY : lastTryMs + paceMs;
}

function isTooSoon(state: MirrorState, nowMs: number): boolean {
  return nowMs < soonest(state);
}

function wait(state: MirrorState, why: WaitReason, untilMs: number): MirrorState {
  return { ...standing(state), phase: 'waiting', why, untilMs };
}

function begin(
  state: MirrorState,
  phase: Extract<Phase, { phase: 'pushing' | 'checking' }>,
  nowMs: number,
): MirrorStep {
  const begun = { ...standing(state), ...phase, lastTryMs: nowMs };
  return { state: begun, action: phase.phase === 'pushing' ? 'push' : 'check' };
}

function looked(
  state: MirrorState,
  { due, quietMs }: Extract<MirrorEvent, { kind: 'looked' }>,
  nowMs: number,
): MirrorStep {
  if (state.phase === 'blocked') {
    const isOver = state.untilMs !== null && nowMs >= state.untilMs;
    if (!isOver) return stay(state);
    // What is over and cannot be done yet would be looked at without a rest.
    if (quietMs > 0) return stay({ ...state, untilMs: nowMs + quietMs });
    if (isTooSoon(state, nowMs)) return stay({ ...state, untilMs: soonest(state) });
    const { phase, by, untilMs, note } = state;
    return begin(state, { phase: 'checking', blocked: { phase, by, untilMs, note } }, nowMs);
  }
  if (state.phase === 'waiting') {
    // Nothing failed, and there is nothing to wait for any more: after a restart of the daemon, for instance.
    const isIdle = !due && (state.why === 'pace' || state.why === 'quiet');
    // The window may have ended before its time: a clock was set, or summer time began.
    const isOver = isIdle || nowMs >= state.untilMs || (state.why === 'quiet' && quietMs <= 0);
    if (!isOver) return stay(state);
    if (state.why === 'asked') return begin(state, { phase: 'pushing', asked: true }, nowMs);
  }
  if (!due) return stay({ ...standing(state), phase: 'in-sync' });
  if (quietMs > 0) return stay(wait(state, 'quiet', nowMs + quietMs));
  if (isTooSoon(state, nowMs)) return stay(wait(state, 'pace', soonest(state)));
  if (state.failures >= breakerFailures) return begin(state, { phase: 'checking', blocked: null }, nowMs);
  return begin(state, { phase: 'pushing', asked: false }, nowMs);
}

function failed(state: MirrorState, failure: Failure, random: number, nowMs: number): MirrorState {
  const failures = failure.kind === 'busy' ? state.failures : state.failures + 1;
  const after = { failures, lastFailure: failure, lastTryMs: state.lastTryMs };
  const untilMs = nowMs + delayMs(failure, failures, random);
  if (needsPerson(failure)) {
    const by = failure.kind === 'security' ? 'security' : 'permanent';
    return { ...after, phase: 'blocked', by, untilMs, note: null };
  }
  // What blocked it is not known to be mended, and stays what the operator is told.
  if (state.phase === 'checking' && state.blocked)
    return { ...after, lastFailure: state.lastFailure, ...state.blocked, untilMs };
  return { ...wait({ ...state, ...after }, whyOf(failure), untilMs) };
}

function whyOf({ kind, reason }: Failure): WaitReason {
  if (kind === 'busy') return 'busy';
  return reason === 'disk_full' ? 'disk-full' : 'back-off';
}
