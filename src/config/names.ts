/** Paths and names in a configuration, as zod schemas. */
import { normalize } from 'node:path/posix';
import { describe, pattern, text } from './fields.ts';
import type { Parsed } from './units.ts';

const controls = /\p{Cc}/u;

/** A path without `..` and control characters, without a slash at its end. */
export function plainPath(written: string): Parsed<string> {
  const expected = 'a path without .. or control characters';
  if (written === '' || controls.test(written) || written.split('/').includes('..')) {
    return { problem: `${describe(written)}, expected ${expected}` };
  }
  const path = normalize(written);
  return { value: path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path };
}

export function absolutePath(expected = 'an absolute path') {
  return text(expected, (written) =>
    written.startsWith('/') ? plainPath(written) : { problem: `${describe(written)}, expected ${expected}` },
  );
}

/** Names become metric labels and directory names. */
export const name = (what: string) =>
  pattern(`${what} of 1 to 63 letters, digits, dots, dashes and underscores`, /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/);
