/** Chooses the check of a file by its format, which its first bytes say, and refuses a format that is not the expected one. */
import { type IndexFileName, isAdbIdentity } from '../apk/entry.ts';
import { FormatError } from '../errors.ts';
import { AdbIndexCheck } from './check-adb-index.ts';
import { AdbPackageCheck } from './check-adb-package.ts';
import { IndexCheck, type IndexFindings, type IndexRules } from './check-index.ts';
import { PackageCheck, type PackageFindings, type PackageRules } from './check-package.ts';
import type { Check } from './pass.ts';

type Format = 'v2' | 'v3';

/** The check of a package; with an index entry, of the format that its identity is of. */
export function packageCheck(rules: PackageRules, size: number): Check<PackageFindings> {
  const { entry } = rules;
  return new FormatCheck({
    v2: () => new PackageCheck(rules, size),
    v3: () => new AdbPackageCheck(rules, size),
    expected: entry === null ? null : isAdbIdentity(entry.identity) ? 'v3' : 'v2',
    refuse: (is, expected) =>
      new FormatError('IDENTITY_MISMATCH', `an apk ${is} package, the index names one of format ${expected}`),
  });
}

/** The check of an index; with a file name, of the format that clients expect under it. */
export function indexCheck(rules: IndexRules): Check<IndexFindings> {
  const { fileName } = rules;
  return new FormatCheck({
    v2: () => new IndexCheck(rules),
    v3: () => new AdbIndexCheck(rules),
    expected: fileName === null ? null : formatOf(fileName),
    refuse: (is) => new FormatError('FORMAT_INDEX', `an index of format ${is} under the name ${fileName ?? ''}`),
  });
}

function formatOf(fileName: IndexFileName): Format {
  return fileName === 'APKINDEX.tar.gz' ? 'v2' : 'v3';
}

interface Formats<T> {
  readonly v2: () => Check<T>;
  readonly v3: () => Check<T>;
  readonly expected: Format | null;
  readonly refuse: (is: Format, expected: Format) => FormatError;
}

class FormatCheck<T> implements Check<T> {
  readonly #formats: Formats<T>;
  #check: Check<T> | undefined;

  constructor(formats: Formats<T>) {
    this.#formats = formats;
  }

  async push(chunk: Buffer): Promise<void> {
    this.#check ??= this.#choose(chunk);
    await this.#check.push(chunk);
  }

  async finish(): Promise<T> {
    if (this.#check === undefined) throw new FormatError('TRUNCATED', 'the file is empty');
    return this.#check.finish();
  }

  [Symbol.dispose](): void {
    this.#check?.[Symbol.dispose]();
  }

  #choose(start: Buffer): Check<T> {
    const { expected, refuse } = this.#formats;
    const is = recognise(start, expected);
    if (expected !== null && is !== expected) throw refuse(is, expected);
    return this.#formats[is]();
  }
}

/** What is neither is left to the check of the expected format to name, for v3 here. */
function recognise(start: Buffer, expected: Format | null): Format {
  if (start.toString('latin1', 0, 3) === 'ADB') return 'v3';
  if (expected !== 'v3' || start.readUInt8(0) === 0x1f) return 'v2';
  throw start.length < 4
    ? new FormatError('TRUNCATED', 'the file ends before its format shows')
    : new FormatError('FORMAT_UNSUPPORTED', 'neither an apk v3 nor an apk v2 file');
}
