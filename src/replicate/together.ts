/**
 * Decides when the mirrors may show a generation whose packages have gone out to them: together, once a quorum has them or the
 * deadline has passed, so that users who are sent to several mirrors do not mix generations. Pure. Times are wall time.
 */
import type { Quorum } from '../config/switch-schema.ts';

/** What a push asks and tells of the switch. */
export interface TogetherPort {
  /** True once the indexes of `generation` may appear. */
  mayShow(generation: number): boolean;
  /** The mirror has the packages of `generation`. */
  staged(generation: number): void;
}

export interface Member {
  readonly name: string;
  /** The newest generation whose packages it has; null: none, as far as we know. */
  readonly has: number | null;
  /** The generation whose indexes we brought there last; null: none. */
  readonly shows: number | null;
  /** Why nobody waits for it: blocked, in a quiet window, or not reachable for a while; null: it takes part. */
  readonly out: string | null;
}

export interface SwitchFacts {
  readonly generation: number;
  /** When the first generation came out that no mirror shows yet. */
  readonly waitingSinceMs: number;
  readonly members: readonly Member[];
  readonly quorum: Quorum;
  readonly deadlineMs: number;
}

export type SwitchDecision =
  | { readonly verdict: 'wait'; readonly untilMs: number; readonly has: number; readonly needs: number }
  | { readonly verdict: 'go'; readonly because: 'quorum' | 'deadline' | 'shown' | 'nobody'; readonly has: number };

/** A generation that one mirror shows is shown by all: what was decided before a restart holds. */
export function decideSwitch(facts: SwitchFacts, nowMs: number): SwitchDecision {
  const { generation, members, deadlineMs, waitingSinceMs } = facts;
  const has = members.filter((member) => hasIt(member, generation)).length;
  if (members.some(({ shows }) => (shows ?? 0) >= generation)) return { verdict: 'go', because: 'shown', has };
  // With nothing to see yet there is nothing to mix.
  if (members.every(({ shows }) => shows === null)) return { verdict: 'go', because: 'nobody', has };
  const needs = needed(facts);
  if (needs === 0) return { verdict: 'go', because: 'nobody', has };
  if (has >= needs) return { verdict: 'go', because: 'quorum', has };
  const untilMs = waitingSinceMs + deadlineMs;
  return nowMs >= untilMs ? { verdict: 'go', because: 'deadline', has } : { verdict: 'wait', untilMs, has, needs };
}

/** Those that lack packages of the generation; `out` ones with their reason. */
export function stragglersOf(members: readonly Member[], generation: number): string[] {
  const late = members.filter((member) => !hasIt(member, generation));
  return late.map(({ name, out }) => (out === null ? name : `${name} (${out})`));
}

function hasIt({ has }: Member, generation: number): boolean {
  return has !== null && has >= generation;
}

/** Of those that take part, and of those that have the packages although nobody would have waited for them. */
function needed({ generation, members, quorum }: SwitchFacts): number {
  const counted = members.filter((member) => member.out === null || hasIt(member, generation)).length;
  return 'percent' in quorum ? Math.ceil((counted * quorum.percent) / 100) : Math.min(counted, quorum.mirrors);
}
