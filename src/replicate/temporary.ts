/** Names of files that are still being written at a mirror. */
import { randomInt } from 'node:crypto';
import { posix } from 'node:path';

/** Longest file name of the usual file systems, in bytes. */
const longestName = 255;

/**
 * A fresh name of the form `.NAME.lockstepd-XXXXXX` for the directory in which `name` will be: hidden, and told from every
 * published name by its shape. A long `name` is cut so that the whole fits.
 */
export function temporaryName(name: string): string {
  const end = `.lockstepd-${randomInt(0x1000000).toString(16).padStart(6, '0')}`;
  let kept = name;
  while (Buffer.byteLength(kept) > longestName - 1 - end.length) kept = Array.from(kept).slice(0, -1).join('');
  return `.${kept}${end}`;
}

/** Where the file that will be at `finalPath` is written until it is whole: in the same directory, under a fresh temporary name. */
export function temporaryPathFor(finalPath: string): string {
  return posix.join(posix.dirname(finalPath), temporaryName(posix.basename(finalPath)));
}
