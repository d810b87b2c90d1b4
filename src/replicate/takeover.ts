/**
 * Decides whether this primary serves a mirror whose first primary is another one. Pure.
 *
 *              an answered probe: users lack for longer than `afterMs` what was published here
 *   standby ------------------------------------------------------------------------------------> taken over
 *      ^                                                                                              |
 *      +---- an answered probe: they lack nothing for so long, and somebody else has pushed last ------+
 *
 * A probe without an answer changes nothing: where the mirror's web server is down its users get nothing from either primary,
 * and where we are cut off we could not push. The first answer afterwards counts the lag anew from what is served then.
 */

export interface TakeoverState {
  /** As wall time; null: standby. */
  readonly takenOverAtMs: number | null;
}

/** What an answered probe saw. */
export interface TakeoverSight {
  /** How long ago the first generation that users lack was published here; null: they lack nothing. */
  readonly missingForMs: number | null;
  /** True when what is there was not brought by us. */
  readonly byAnother: boolean;
}

/** `sight` null: the probe had no answer. */
export function nextTakeover(
  state: TakeoverState,
  sight: TakeoverSight | null,
  afterMs: number,
  nowMs: number,
): TakeoverState {
  if (sight === null) return state;
  const late = sight.missingForMs !== null && sight.missingForMs > afterMs;
  if (state.takenOverAtMs === null) return late ? { takenOverAtMs: nowMs } : state;
  return !late && sight.byAnother ? { takenOverAtMs: null } : state;
}
