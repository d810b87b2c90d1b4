/** Reads the sidecar of a key file, `NAME.pub.validity`: from when and until when signatures by the key are accepted. Pure. */

/** Milliseconds since the epoch, both inclusive; absent: no limit. */
export interface Validity {
  readonly notBeforeMs?: number;
  readonly notAfterMs?: number;
}

const expected = 'expected lines such as "not_after = 2027-12-31" or "not_before = 2026-01-01T12:00:00Z"';
const dayMs = 86_400_000;

/**
 * Lines `not_before = DATE` and `not_after = DATE`, each at most once, at least one; `#` begins a comment line. A DATE is a
 * day in UTC (with not_after it still counts) or an instant `YYYY-MM-DDTHH:MM:SSZ`. Throws an Error for anything else: what
 * cannot be read must not count as "no limit".
 */
export function parseValidity(text: string): Validity {
  const found = new Map<string, number>();
  for (const [index, line] of text.split('\n').entries()) {
    const content = line.trim();
    if (content === '' || content.startsWith('#')) continue;
    const [, key, date = ''] = /^(not_before|not_after)\s*=\s*(\S+)$/.exec(content) ?? [];
    const instant = key === undefined ? null : instantOf(date, key === 'not_after');
    if (key === undefined || instant === null) throw new Error(`line ${index + 1} is not understood, ${expected}`);
    if (found.has(key)) throw new Error(`line ${index + 1} says ${key} again, expected it once`);
    found.set(key, instant);
  }
  const notBeforeMs = found.get('not_before');
  const notAfterMs = found.get('not_after');
  if (notBeforeMs === undefined && notAfterMs === undefined) throw new Error(`it says nothing, ${expected}`);
  if (notBeforeMs !== undefined && notAfterMs !== undefined && notAfterMs < notBeforeMs)
    throw new Error('not_after is before not_before, expected a span of time');
  return {
    ...(notBeforeMs === undefined ? {} : { notBeforeMs }),
    ...(notAfterMs === undefined ? {} : { notAfterMs }),
  };
}

function instantOf(date: string, endOfDay: boolean): number | null {
  const day = /^\d{4}-\d\d-\d\d$/.test(date);
  if (!day && !/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(date)) return null;
  const ms = Date.parse(day ? `${date}T00:00:00Z` : date);
  // Date.parse takes 2027-02-30 for the second of March.
  if (Number.isNaN(ms) || !new Date(ms).toISOString().startsWith(date.slice(0, 19).replace('Z', ''))) return null;
  return day && endOfDay ? ms + dayMs - 1 : ms;
}
