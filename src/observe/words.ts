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

/** `1 mirror`, `3 mirrors`. */
export function countText(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
