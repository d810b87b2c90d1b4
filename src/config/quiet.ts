/** Quiet windows: times of the day in which a mirror is not pushed to. Reads them and says how long one still lasts. */
import type { Parsed } from './units.ts';

export interface QuietWindow {
  /** Minutes after midnight in `zone`; a window whose end is not after its start goes over midnight. */
  readonly from: number;
  readonly to: number;
  /** A name of the time zone database. */
  readonly zone: string;
}

export const quietExample = 'a window such as 07:00-23:00 (UTC) or "22:30-06:00 Europe/Paris"';

const dayMinutes = 24 * 60;
const minuteMs = 60_000;

/** Reads `HH:MM-HH:MM`, with a time zone behind it or in UTC. */
export function parseQuiet(written: string): Parsed<QuietWindow> {
  const problem = { problem: `${JSON.stringify(written)}, expected ${quietExample}` };
  const [, h1, m1, h2, m2, zone = 'UTC'] =
    /^(\d{2}):([0-5]\d)-(\d{2}):([0-5]\d)(?: ([A-Za-z][A-Za-z0-9/_+-]*))?$/.exec(written) ?? [];
  const [from, to] = [Number(h1) * 60 + Number(m1), Number(h2) * 60 + Number(m2)];
  if (!(from < dayMinutes && to <= dayMinutes) || from === to % dayMinutes) return problem;
  try {
    clockOf(zone);
  } catch {
    return { problem: `${JSON.stringify(zone)} is no time zone, expected ${quietExample}` };
  }
  return { value: { from, to, zone } };
}

/** How long it is quiet from `nowMs` on, in milliseconds; 0 when it is not. A day and more: the windows leave no gap. */
export function quietMsAt(windows: readonly QuietWindow[], nowMs: number): number {
  let until = nowMs;
  // Windows that touch or overlap are one: go on to the end of the next, and over midnight to the first once more.
  for (let round = 0; round <= windows.length * 2; round++) {
    const left = Math.max(0, ...windows.map((window) => leftOf(window, until)));
    if (left === 0) break;
    until += left;
  }
  return until - nowMs;
}

/** How long until the next window begins, in milliseconds; null when there is none. */
export function msUntilQuiet(windows: readonly QuietWindow[], nowMs: number): number | null {
  if (windows.length === 0) return null;
  return (
    Math.min(...windows.map((window) => (window.from - minutesAt(window.zone, nowMs) + dayMinutes) % dayMinutes)) *
    minuteMs
  );
}

/** How long `window` still lasts; 0 outside of it. */
function leftOf({ from, to, zone }: QuietWindow, atMs: number): number {
  const at = minutesAt(zone, atMs);
  const length = (to - from + dayMinutes) % dayMinutes;
  const gone = (at - from + dayMinutes) % dayMinutes;
  return gone < length ? Math.ceil((length - gone) * minuteMs) : 0;
}

/** Minutes since midnight in `zone`, with their fraction. */
function minutesAt(zone: string, atMs: number): number {
  if (zone === 'UTC') return (atMs / minuteMs) % dayMinutes;
  const [hours = 0, minutes = 0] = clockOf(zone).format(atMs).split(':').map(Number);
  return hours * 60 + minutes + ((atMs / minuteMs) % 1);
}

const clocks = new Map<string, Intl.DateTimeFormat>();

/** Made once for each zone: making one costs more than all that it is asked for. Throws RangeError for a zone that is not known. */
function clockOf(zone: string): Intl.DateTimeFormat {
  const known = clocks.get(zone);
  if (known) return known;
  const options = { timeZone: zone, hour: '2-digit', minute: '2-digit', hourCycle: 'h23' } as const;
  const made = new Intl.DateTimeFormat('en-GB', options);
  clocks.set(zone, made);
  return made;
}
