/** Words for people, shared by the terminal and the status page: durations and instants. Decides no layout and escapes nothing. */

const units = [
  ['d', 86_400],
  ['h', 3600],
  ['min', 60],
  ['s', 1],
] as const;

/** A span of seconds in at most two units: `0 s`, `45 s`, `3 min 20 s`, `2 h`, `1 d 4 h`. */
export function spanText(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const at = units.findIndex(([, size]) => whole >= size);
  if (at === -1) return '0 s';
  let rest = whole;
  const parts = units.slice(at, at + 2).map(([unit, size]) => {
    const count = Math.floor(rest / size);
    rest -= count * size;
    return { unit, count };
  });
  return parts
    .filter((part) => part.count > 0)
    .map((part) => `${part.count} ${part.unit}`)
    .join(' ');
}

/** How an instant lies to `nowMs`: `3 min ago`, `now`, `in 5 s`; `-` for none. */
export function whenText(instant: string | null, nowMs: number): string {
  if (instant === null) return '-';
  const seconds = Math.round((nowMs - Date.parse(instant)) / 1000);
  if (seconds === 0) return 'now';
  return seconds > 0 ? `${spanText(seconds)} ago` : `in ${spanText(-seconds)}`;
}

/** How an instant lies to now, in the words of whoever shows it; `-` for none. */
export type WhenText = (instant: string | null) => string;

/** `1 mirror`, `3 mirrors`. */
export function countText(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** Why a mirror that pulls deserves a look, null when it does not. */
export function overdueText(mirror: {
  readonly sync_overdue: boolean;
  readonly sync_period_seconds: number | null;
}): string | null {
  if (!mirror.sync_overdue || mirror.sync_period_seconds === null) return null;
  return `overdue: it pulls about every ${spanText(mirror.sync_period_seconds)}, ask its admin`;
}

/** Below this a clock is as right as HTTP and a slow answer let us see. */
const toldSkewSeconds = 60;

/** What is told of a wrong clock, null when it is right or not known. */
export function skewText(skew: number | null): string | null {
  if (skew === null || Math.abs(skew) <= toldSkewSeconds) return null;
  return `its clock is ${spanText(Math.abs(skew))} ${skew > 0 ? 'fast' : 'slow'}: its admin should set it`;
}

/** What a mirror that has two primaries, or switches with others, waits for or is served by; null when that is nothing special. */
export function turnText(mirror: {
  readonly waits_for: string | null;
  readonly taken_over_since: string | null;
}): string | null {
  if (mirror.taken_over_since !== null) return `taken over since ${mirror.taken_over_since}`;
  if (mirror.waits_for === 'standby') return 'standby (first primary serves it)';
  return mirror.waits_for === 'together' ? 'has the packages, waits for the other mirrors' : null;
}

const byteUnits = ['B', 'kB', 'MB', 'GB', 'TB'] as const;

/** A number of bytes in decimal units: `0 B`, `75 kB`, `2.3 MB`. */
export function bytesText(bytes: number): string {
  const power = Math.min(byteUnits.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, bytes)) / 3)));
  const value = bytes / 1000 ** power;
  return `${power > 0 && value < 10 ? value.toFixed(1) : Math.round(value)} ${byteUnits[power] ?? 'B'}`;
}

/** The words with commas between them, in lines of at most `width` characters as far as words allow. */
export function wrapText(words: readonly string[], width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const [i, word] of words.entries()) {
    const part = i < words.length - 1 ? `${word},` : word;
    if (line !== '' && line.length + part.length >= width) {
      lines.push(line);
      line = part;
    } else line = line === '' ? part : `${line} ${part}`;
  }
  return line === '' ? lines : [...lines, line];
}
