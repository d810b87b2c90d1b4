/** Decides which generations a mirror had in time: each one counts once, whether it came or not. What it is for: the service level objective in config/prometheus. Pure. */
import type { MirrorFacts } from './status.ts';

/** A generation that a mirror has not after this long is late. */
export const arrivalGoalMs = 15 * 60_000;

/** `excused`: late at a mirror that was not healthy at some moment since the generation came out. */
export const arrivalOutcomes = ['in_time', 'late', 'excused'] as const;
export type ArrivalOutcome = (typeof arrivalOutcomes)[number];

export interface Arrival {
  readonly generation: number;
  /** Milliseconds since the epoch. */
  readonly publishedAtMs: number;
}

/** What is known of a mirror at the moment `nowMs`. */
export interface ArrivalFacts {
  /** The generation that it holds; null: none, or not known. */
  readonly held: number | null;
  /** When it was last seen not to be healthy; null: never. */
  readonly unhealthyAtMs: number | null;
  readonly nowMs: number;
}

/** What each of `published` (by number, ascending) is; null: it may still come in time, and so may all after it. */
export function arrivalOf({ generation, publishedAtMs }: Arrival, facts: ArrivalFacts): ArrivalOutcome | null {
  const { held, unhealthyAtMs, nowMs } = facts;
  if (nowMs - publishedAtMs <= arrivalGoalMs) return held !== null && held >= generation ? 'in_time' : null;
  return unhealthyAtMs !== null && unhealthyAtMs >= publishedAtMs ? 'excused' : 'late';
}

/**
 * True for a mirror that owes us to be in step: one that answers, that nobody has taken out, and that has been filled before.
 * What a mirror is at fault for is told by other alerts; the objective is about the way from here to there.
 */
export function isHealthy(mirror: MirrorFacts): boolean {
  const { blockedBy, breaker, waitsFor, transport } = mirror;
  const isFilled = transport === 'trigger' ? mirror.lastSuccessAtMs !== null : mirror.generation !== null;
  const isAway = waitsFor === 'quiet' || waitsFor === 'standby' || waitsFor === 'disk-full';
  return isFilled && blockedBy === null && breaker === 'closed' && !isAway;
}
