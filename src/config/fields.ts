/** The kinds of values that a configuration holds, as zod schemas whose problems read `what, expected what` in plain English. */
import { z } from 'zod';
import { durationExample, type Parsed, parseDuration } from './units.ts';

/** One thing that is wrong, at a key of the document; `on` says whether the key itself or its value is meant. */
export interface KeyProblem {
  readonly path: readonly (string | number)[];
  readonly on: 'key' | 'value';
  readonly message: string;
}

/** A value as problems show it. */
export function describe(value: unknown): string {
  if (value === undefined) return 'missing';
  if (value === null) return 'empty';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a mapping';
  const shown = JSON.stringify(value);
  return shown.length > 80 ? `${shown.slice(0, 80)}…` : shown;
}

/** The problem `what, expected …` for any wrong value. */
export const expects = (expected: string) => ({
  error: (issue: { readonly input?: unknown }): string => `${describe(issue.input)}, expected ${expected}`,
});

/** A string that `convert` reads. */
export function text<T>(expected: string, convert: (written: string) => Parsed<T>) {
  return z.string(expects(expected)).transform((written, context) => unwrap(convert(written), context));
}

function unwrap<T>(parsed: Parsed<T>, context: { addIssue(issue: { code: 'custom'; message: string }): void }): T {
  if ('value' in parsed) return parsed.value;
  context.addIssue({ code: 'custom', message: parsed.problem });
  return z.NEVER;
}

/** A string that `pattern` matches. */
export function pattern(expected: string, expression: RegExp) {
  return z.string(expects(expected)).regex(expression, expects(expected));
}

/** A duration such as `5s` between two others, in milliseconds. */
export function duration(min: string, max: string) {
  const bound = (written: string): number => {
    const parsed = parseDuration(written);
    return 'value' in parsed ? parsed.value : Number.NaN;
  };
  const type = z.union([z.string(), z.number()], expects(durationExample)).describe(`a duration from ${min} to ${max}`);
  return type.transform((written, context) => {
    const parsed = parseDuration(String(written));
    const outside = 'value' in parsed && (parsed.value < bound(min) || parsed.value > bound(max));
    const problem = `${describe(written)}, expected a duration from ${min} to ${max}`;
    return unwrap(outside ? { problem } : parsed, context);
  });
}

export function wholeNumber(min: number, max: number) {
  const expected = expects(`a whole number from ${min} to ${max}`);
  return z.int(expected).min(min, expected).max(max, expected);
}

/** One of these words. */
export function oneOf<const T extends readonly [string, ...string[]]>(...words: T) {
  return z.enum(words, expects(orList(words)));
}

function orList(words: readonly string[]): string {
  return [words.slice(0, -1).join(', '), ...words.slice(-1)].filter((part) => part !== '').join(' or ');
}

/** A list with at least `min` items. */
export function listOf<Item extends z.ZodType>(what: string, item: Item, min: 0 | 1) {
  const expected = expects(`a list of ${min === 0 ? '' : 'one or more '}${what}`);
  return z.array(item, expected).min(min, expected);
}

/** A mapping with these keys and no others. */
export function mapping<Shape extends z.core.$ZodLooseShape>(what: string, shape: Shape) {
  const known = Object.keys(shape);
  return z.strictObject(shape, {
    // One line for each unknown key, in the order of `keys`; toProblems takes them apart again.
    error: (issue) =>
      issue.code === 'unrecognized_keys'
        ? issue.keys.map((key) => unknownKey(key, known)).join('\n')
        : expects(`${what} with the keys ${known.join(', ')}`).error(issue),
  });
}

/** A mapping whose keys all have defaults: it may be left out, or left empty once all of its keys are commented out. */
export function section<Shape extends z.core.$ZodLooseShape>(shape: Shape) {
  return orAbsent({}, mapping('a mapping', shape));
}

/** A value that may be absent or empty and then is `otherwise`. */
export function orAbsent<Type extends z.ZodType>(otherwise: [] | Readonly<Record<string, never>>, type: Type) {
  return z.preprocess((value) => value ?? otherwise, type).prefault(otherwise);
}

/** Our problems for one of zod's. */
export function toProblems(issue: z.core.$ZodIssue): KeyProblem[] {
  const path = issue.path.map((segment) => (typeof segment === 'symbol' ? String(segment) : segment));
  if (issue.code !== 'unrecognized_keys') return [{ path, on: 'value', message: issue.message }];
  const lines = issue.message.split('\n');
  return issue.keys.map((key, index) => ({ path: [...path, key], on: 'key', message: lines[index] ?? '' }));
}

function unknownKey(key: string, known: readonly string[]): string {
  const [nearest] = known
    .map((name) => ({ name, distance: editDistance(key, name) }))
    .filter(({ name, distance }) => distance <= Math.min(3, name.length / 2))
    .sort((a, b) => a.distance - b.distance);
  if (nearest) return `unknown key, did you mean ${nearest.name}?`;
  return `unknown key, expected ${known.length === 1 ? '' : 'one of '}${known.join(', ')}`;
}

/** Levenshtein distance, on the first 64 characters. */
function editDistance(a: string, b: string): number {
  const left = a.slice(0, 64);
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 0; i < left.length; i++) {
    const next = [i + 1];
    for (let j = 0; j < b.length; j++) {
      const replaced = (row[j] ?? 0) + (left[i] === b[j] ? 0 : 1);
      next.push(Math.min(replaced, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
