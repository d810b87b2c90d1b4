/** What of a mirror's state outlives the daemon, as wall time, and how it is taken up again. Pure. */
import type { SavedState } from '../store/mirror-states.ts';
import { recheckCapMs, waitCapMs } from './backoff.ts';
import { initialState, type MirrorState, untilOf } from './mirror.ts';

/** The two clocks at one moment. */
export interface Moment {
  readonly wallMs: number;
  readonly monotonicMs: number;
}

/** Null: nothing to remember. Undefined: a try is in hand or begins in a moment, what was saved before still holds. */
export function savedOf(state: MirrorState, { wallMs, monotonicMs }: Moment): SavedState | null | undefined {
  if (state.phase === 'pushing' || state.phase === 'checking') return undefined;
  if (state.phase === 'waiting' && state.why === 'asked') return undefined;
  const { failures, lastFailure } = state;
  const blocked = state.phase === 'blocked' ? state : null;
  if (!blocked && lastFailure === null) return null;
  const untilMs = untilOf(state);
  return {
    failures,
    lastFailure,
    blockedBy: blocked?.by ?? null,
    note: blocked?.note ?? null,
    untilMs: untilMs === null ? null : Math.round(wallMs + untilMs - monotonicMs),
  };
}

/**
 * The state to begin with. A wall clock that was corrected meanwhile must not stretch a wait beyond its cap. With another
 * configuration (`changed`) nothing that failed before says anything; a block by hand stays. Nothing is tried within
 * `spreadMs`: mirrors do not all come at once after a restart.
 */
export function restoredState(
  { saved, changed }: { readonly saved: SavedState | null; readonly changed: boolean },
  spreadMs: number,
  { wallMs, monotonicMs }: Moment,
): MirrorState {
  const spread = spreadMs > 0 ? monotonicMs + spreadMs : null;
  const begin: MirrorState =
    spread === null ? initialState : { ...initialState, phase: 'waiting', why: 'pace', untilMs: spread };
  if (!saved) return begin;
  const { failures, lastFailure, blockedBy, note, untilMs } = saved;
  const before = { failures, lastFailure, lastTryMs: null };
  if (blockedBy === 'operator') return { ...before, phase: 'blocked', by: blockedBy, untilMs: null, note };
  if (changed) return begin;
  const capMs = blockedBy === null ? waitCapMs : recheckCapMs;
  const leftMs = Math.max(spreadMs, Math.min(capMs, (untilMs ?? wallMs) - wallMs));
  const until = { ...before, untilMs: monotonicMs + leftMs };
  return blockedBy === null
    ? { ...until, phase: 'waiting', why: 'back-off' }
    : { ...until, phase: 'blocked', by: blockedBy, note };
}
