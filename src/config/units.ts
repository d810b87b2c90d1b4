/** How the configuration writes quantities: durations, sizes and cron expressions, from text to numbers. */

/** What a text stands for, or one line that says what it is and what was expected. */
export type Parsed<T> = { readonly value: T } | { readonly problem: string };

const second = 1000;
const durationUnits = { ms: 1, s: second, m: 60 * second, h: 3600 * second, d: 86_400 * second } as const;
const sizeUnits = { '': 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 } as const;

export const durationExample = 'a duration such as 500ms, 5s, 10m, 48h or 7d';
export const sizeExample = 'a size such as 500KiB, 64MiB, 2GiB or a number of bytes';

/** Milliseconds of `500ms`, `5s`, `10m`, `48h`, `7d` or a bare `0`; whole numbers of one unit only. */
export function parseDuration(text: string): Parsed<number> {
  if (text === '0') return { value: 0 };
  return scaled(text, durationUnits, durationExample);
}

/** Bytes of `64MiB`, `2GiB`, `500KiB` (powers of 1024) or a plain number. */
export function parseSize(text: string): Parsed<number> {
  return scaled(text, sizeUnits, sizeExample);
}

function scaled(text: string, units: Readonly<Record<string, number>>, expected: string): Parsed<number> {
  const [, digits = '', unit = ''] = /^(\d{1,16})([A-Za-z]*)$/.exec(text) ?? [];
  const factor = Object.hasOwn(units, unit) ? units[unit] : undefined;
  if (digits !== '' && factor === undefined) {
    const known = Object.keys(units).filter((name) => name !== '');
    const what = unit === '' ? 'has no unit' : `has the unknown unit ${JSON.stringify(unit)}`;
    return { problem: `${JSON.stringify(text)} ${what} (known: ${known.join(', ')}), expected ${expected}` };
  }
  if (digits === '' || factor === undefined) return { problem: `${JSON.stringify(text)}, expected ${expected}` };
  const value = Number(digits) * factor;
  if (Number.isSafeInteger(value)) return { value };
  return { problem: `${JSON.stringify(text)} is too large, expected ${expected}` };
}

const months = 'jan feb mar apr may jun jul aug sep oct nov dec'.split(' ');
const weekdays = 'sun mon tue wed thu fri sat'.split(' ');
const cronFields = [
  { name: 'minute', min: 0, max: 59, words: [] },
  { name: 'hour', min: 0, max: 23, words: [] },
  { name: 'day of month', min: 1, max: 31, words: [] },
  { name: 'month', min: 1, max: 12, words: months },
  { name: 'day of week', min: 0, max: 7, words: weekdays },
] as const;
type CronField = (typeof cronFields)[number];

export const cronExample = 'five cron fields (minute hour day month weekday) such as "0 4 * * 0"';

/** A cron expression of five fields as it stands (`crontab(5)`: lists, ranges, steps, English short names), checked. */
export function parseCron(text: string): Parsed<string> {
  const fields = text.trim().split(/\s+/);
  if (fields.length !== cronFields.length) {
    return { problem: `${JSON.stringify(text)} has ${fields.length} fields, expected ${cronExample}` };
  }
  for (const [index, field] of cronFields.entries()) {
    const written = fields[index] ?? '';
    if (written.split(',').every((part) => isCronPart(part, field))) continue;
    const range = `${field.min}-${field.max}`;
    return { problem: `${JSON.stringify(written)} is no ${field.name} (${range}), expected ${cronExample}` };
  }
  return { value: fields.join(' ') };
}

function isCronPart(part: string, field: CronField): boolean {
  const [, range = '', step] = /^(\*|[a-z\d]+(?:-[a-z\d]+)?)(?:\/(\d{1,2}))?$/i.exec(part) ?? [];
  if (range === '' || (step !== undefined && Number(step) < 1)) return false;
  if (range === '*') return true;
  const ends = range.split('-').map((end) => cronNumber(end, field));
  return ends.every((n) => n >= field.min && n <= field.max) && (ends[0] ?? 0) <= (ends.at(-1) ?? 0);
}

/** The number of a field's value, or NaN. */
function cronNumber(text: string, field: CronField): number {
  const word = (field.words as readonly string[]).indexOf(text.toLowerCase());
  if (word >= 0) return word + field.min;
  return /^\d{1,2}$/.test(text) ? Number(text) : Number.NaN;
}
