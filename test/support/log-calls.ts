/** Finds the calls of the log in the sources: by what level, with which event, with which fields. For calls with names written out. */
import { globSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const source = resolve(import.meta.dirname, '../../src');

export interface LogCall {
  readonly file: string;
  readonly levels: readonly string[];
  readonly events: readonly string[];
  readonly fields: readonly string[];
  /** True when all fields are written out at the call. */
  readonly whole: boolean;
}

export function logCalls(): LogCall[] {
  const files = globSync('**/*.ts', { cwd: source }).filter((file) => file !== 'system/log.ts');
  return files.sort().flatMap((file) => logCallsIn(file, readFileSync(join(source, file), 'utf8')));
}

export function logCallsIn(file: string, text: string): LogCall[] {
  return [...text.matchAll(/\blog\s*(?:\.(debug|info|warn|error)|\[([^\]]+)\])\(/g)].flatMap((match) => {
    const [first = '', second] = argumentsAt(text, match.index + match[0].length);
    const levels = match[1] === undefined ? choices(match[2] ?? '') : [match[1]];
    const events = choices(first);
    // `log[x ? 'error' : 'warn'](x ? 'a' : 'b')` is two calls in one.
    const isPair = match[2]?.split('?')[0] === first.split('?')[0] && levels.length === events.length;
    const literal = second === undefined || second.startsWith('{');
    const parts = second?.startsWith('{') ? split(second.slice(1, -1)) : [];
    const call = {
      file,
      fields: parts.flatMap((part) => /^(\w+)\s*(?:$|:)/.exec(part)?.[1] ?? []),
      whole: literal && parts.every((part) => !part.startsWith('...')),
    };
    return isPair
      ? events.map((event, n) => ({ ...call, events: [event], levels: levels.slice(n, n + 1) }))
      : [{ ...call, events, levels }];
  });
}

/** The strings that an expression may be: one, or those behind the question mark. */
function choices(text: string): string[] {
  return [...(text.split('?')[1] ?? text).matchAll(/'([^']*)'/g)].map((match) => match[1] ?? '');
}

/** The arguments of a call whose bracket opens right before `at`. */
function argumentsAt(text: string, at: number): string[] {
  return split(text.slice(at, endOf(text, at)));
}

/** Where the bracket that is open at `at` closes. */
function endOf(text: string, at: number): number {
  let depth = 0;
  for (let i = at; i < text.length; i++) {
    i = afterString(text, i);
    if ('([{'.includes(text[i] ?? '')) depth++;
    else if (')]}'.includes(text[i] ?? '') && depth-- === 0) return i;
  }
  return text.length;
}

/** At a quote: its end. Templates are taken as one string, whatever they hold. */
function afterString(text: string, at: number): number {
  const quote = text[at] ?? '';
  if (!`'"\``.includes(quote) || quote === '') return at;
  let i = at + 1;
  while (i < text.length && text[i] !== quote) i += text[i] === '\\' ? 2 : 1;
  return i;
}

/** The parts between commas that stand outside of brackets. */
function split(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let from = 0;
  for (let i = 0; i <= text.length; i++) {
    if (i === text.length || (text[i] === ',' && depth === 0)) {
      parts.push(text.slice(from, i).trim());
      from = i + 1;
      continue;
    }
    i = afterString(text, i);
    if ('([{'.includes(text[i] ?? '-')) depth++;
    else if (')]}'.includes(text[i] ?? '-')) depth--;
  }
  return parts.filter((part) => part !== '');
}
