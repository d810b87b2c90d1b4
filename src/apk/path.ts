/** Says which paths inside a package clients take. */
import { FormatError } from '../errors.ts';

/** Throws DATA_PATH for a path that clients skip with a warning (p53): a package that has one is not what it says. */
export function checkPath(path: string): void {
  checkParts(path, path.split('/'));
}

/** As `checkPath`, for the name of one file in its directory. */
export function checkFileName(name: string): void {
  checkParts(name, name.includes('/') ? [''] : [name]);
}

function checkParts(path: string, [first = '', ...rest]: readonly string[]): void {
  const escapes = first === '' || [first, ...rest].some((part) => part === '.' || part === '..');
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  if (escapes || /[\u0000-\u001f\u007f]/.test(path)) {
    throw new FormatError('DATA_PATH', `a path that clients refuse in the data: ${JSON.stringify(path.slice(0, 200))}`);
  }
}
