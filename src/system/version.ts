/** The version of this program, read from the package that it is part of. */
import { readFileSync } from 'node:fs';

interface PackageFile {
  readonly version: string;
}

const file = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as PackageFile;

export const version: string = file.version;
