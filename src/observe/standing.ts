/** Decides how each mirror, and the whole, is judged on the status page: what needs a look comes first. Pure. */
import { isInStep, type MirrorStatus, type Status } from './status.ts';
import { isSilent, silentText } from './unanswered.ts';
import { overdueText, skewText, spanText, turnText } from './words.ts';

/** `busy` is on its way without any trouble; `idle` is not known yet. */
export type StandingTone = 'good' | 'idle' | 'busy' | 'warn' | 'bad';

export interface Standing {
  readonly tone: StandingTone;
  readonly word: string;
}

/** Without any trouble a push may take so long before somebody should look: the time that the service level allows. */
export const calmSeconds = 15 * 60;

/** It has everything, but may be gone by now. */
const notObserved: Standing = { tone: 'warn', word: 'not observed' };

export function standingOf(mirror: MirrorStatus, newest: number): Standing {
  if (mirror.observed_unknown_content) return { tone: 'bad', word: 'unknown content' };
  if (mirror.state === 'blocked') return { tone: 'bad', word: 'blocked' };
  if (isInStep(mirror, newest)) return isSilent(mirror) ? notObserved : { tone: 'good', word: 'in step' };
  const word = mirror.state === 'in-sync' ? 'seen behind' : mirror.state === 'unknown' ? 'not known' : mirror.state;
  if (mirror.state === 'unknown' && mirror.generation === null && mirror.last_error === null)
    return { tone: 'idle', word };
  return { tone: isCalm(mirror) ? 'busy' : 'warn', word };
}

/** What is behind only because it is on its way, or because it was told to come later. */
function isCalm(mirror: MirrorStatus): boolean {
  if (mirror.last_error !== null || mirror.sync_overdue) return false;
  const pullsInTime = mirror.sync_period_seconds !== null;
  const waitsAsTold = mirror.waits_for === 'quiet' || mirror.waits_for === 'standby';
  return pullsInTime || waitsAsTold || lagOf(mirror) <= calmSeconds;
}

/** Seconds for which users, or our records where nobody looks, lack something. */
function lagOf(mirror: MirrorStatus): number {
  return Math.max(mirror.lag_seconds, mirror.observed_lag_seconds ?? 0);
}

const waits: Readonly<Record<string, string>> = {
  'back-off': 'tried again after a pause',
  busy: 'another transfer runs there',
  'disk-full': 'its disk is full',
  quiet: 'in its quiet window',
  pace: 'tried at most once a second',
  asked: 'asked for, begins in a moment',
};

/** Why the mirror is as it is, in words; nothing for one without anything to say. */
export function reasonsOf(mirror: MirrorStatus): string[] {
  const { state, waits_for: waitsFor, last_error: error, observed_at: seen, url } = mirror;
  return [
    mirror.observed_unknown_content ? 'it serves an index that was never published here' : null,
    error,
    // An error says more than that there is a pause after it.
    state === 'waiting' && error === null && waitsFor !== null ? (waits[waitsFor] ?? null) : null,
    turnText(mirror),
    overdueText(mirror),
    skewText(mirror.clock_skew_seconds),
    silentText(mirror),
    state === 'in-sync' && (mirror.observed_lag_seconds ?? 0) > 0 && !isSilent(mirror)
      ? 'what it serves is older than what we put there'
      : null,
    state === 'unknown' && error === null
      ? url !== null && seen === null
        ? mirror.observed_error === null
          ? 'not looked at yet'
          : `not observed yet: ${mirror.observed_error}`
        : 'not compared yet'
      : null,
  ].filter((text) => text !== null);
}

const order: readonly StandingTone[] = ['bad', 'warn', 'busy', 'idle', 'good'];

/** What needs a look first, the longest behind before the others; mirrors that are alike stay in the order of the configuration. */
export function worstFirst(status: Status): MirrorStatus[] {
  const rank = (mirror: MirrorStatus): number => order.indexOf(standingOf(mirror, status.generation).tone);
  const lag = (mirror: MirrorStatus): number =>
    standingOf(mirror, status.generation).tone === 'good' ? 0 : Math.floor(lagOf(mirror) / 60);
  return status.mirrors.toSorted((a, b) => rank(a) - rank(b) || lag(b) - lag(a));
}

/** How many mirrors stand in each way, the worst first, with the words for them. */
export function countStandings(
  status: Status,
): { readonly tone: StandingTone; readonly word: string; readonly count: number }[] {
  const words = new Map<string, { tone: StandingTone; word: string; count: number }>();
  for (const mirror of status.mirrors) {
    const standing = standingOf(mirror, status.generation);
    const { tone, word } = standing;
    const called = tone === 'busy' ? 'on the way' : tone === 'warn' && standing !== notObserved ? 'behind' : word;
    const known = words.get(`${tone} ${called}`);
    if (known) known.count++;
    else words.set(`${tone} ${called}`, { tone, word: called, count: 1 });
  }
  return [...words.values()].sort((a, b) => order.indexOf(a.tone) - order.indexOf(b.tone) || b.count - a.count);
}

/** How long a mirror lacks something, for the list of what needs a look; empty when it lacks nothing. */
export function behindText(mirror: MirrorStatus): string {
  const lag = lagOf(mirror);
  return lag < 60 ? '' : `behind for ${spanText(Math.floor(lag / 60) * 60)}`;
}
