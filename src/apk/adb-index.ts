/** Reads the ADB block of a v3 index: one entry after the other, under the rules of a v2 index and with its codes. */
import { FormatError, type VerificationCode } from '../errors.ts';
import { AdbValues } from './adb-values.ts';
import { type IndexEntry, isArch, isPackageName, maxFileNameBytes, packageFileName } from './entry.ts';
import type { IndexContent } from './index-member.ts';
import { limits } from './limits.ts';
import { type PackagePath, parsePkgnameSpec } from './pkgname-spec.ts';
import { EntryTable } from './table.ts';
import { isVersion } from './version.ts';

export interface AdbIndexOptions {
  /** What the architecture of each package must be; null asks only for a safe component. */
  readonly arch: string | null;
  /** Packages for `noarch` are right too: where the architecture is no part of a package's path. */
  readonly noarch: boolean;
}

const root = { description: 1, packages: 2, spec: 3 };
const info = { name: 1, version: 2, hashes: 3, arch: 5, buildTime: 11, fileSize: 13 };
const textBytes = 255;
/** What a digest of this length is. Of 20 bytes only this one authenticates: a SHA-1 of that length is a mere name. */
const digests: Readonly<Record<number, string>> = { 20: 'sha256-160', 32: 'sha256', 64: 'sha512' };

export class AdbIndex {
  readonly #values: AdbValues;
  readonly #options: AdbIndexOptions;
  readonly #table = new EntryTable();
  readonly #paths = new EntryTable();
  readonly #pathOf: PackagePath | null;
  readonly #description: string | null;
  readonly #packagesValue: number;
  #newestBuildTime: number | null = null;

  /** Throws ADB_SCHEMA, or INDEX_NAME for a `pkgname-spec` that cannot be followed. */
  constructor(payload: Buffer, options: AdbIndexOptions) {
    this.#values = new AdbValues(payload);
    this.#options = options;
    const top = this.#values.slots(this.#values.root, 'the index');
    const description = this.#values.blob(top.at(root.description), 'the description');
    this.#description =
      description === null || description.length === 0 || description.length > limits.descriptionBytes
        ? null
        : description.toString('utf8');
    const spec = this.#values.text(top.at(root.spec), 'pkgname-spec', limits.lineBytes);
    this.#pathOf = spec === null || spec === '' ? null : parsePkgnameSpec(spec);
    this.#packagesValue = top.at(root.packages);
  }

  /**
   * The distinct entries in their order. Throws ADB_SCHEMA, LIMIT for too many, and INDEX_NAME, INDEX_VERSION,
   * INDEX_CHECKSUM, INDEX_ARCH, INDEX_SYNTAX, INDEX_DUPLICATE as a v2 index does.
   */
  *entries(): Generator<IndexEntry, void> {
    const packages = this.#values.slots(this.#packagesValue, 'the packages');
    if (packages.length > limits.indexStanzas)
      throw new FormatError('LIMIT', `more than ${limits.indexStanzas} packages in the index`);
    for (let n = 1; n <= packages.length; n += 1) {
      const entry = this.#readEntry(packages.at(n), n);
      const added = this.#table.add(entry);
      const path = this.#pathOf === null ? added : this.#paths.addAs(packageFileName(entry), entry);
      if (added === 'conflict' || path === 'conflict' || (added === 'new' && path === 'same')) {
        throw fault(
          'INDEX_DUPLICATE',
          n,
          `${entry.name} ${entry.version} or its path is listed before with other content`,
        );
      }
      if (entry.buildTime !== null) this.#newestBuildTime = Math.max(this.#newestBuildTime ?? 0, entry.buildTime);
      if (added === 'new') yield entry;
    }
  }

  /** After the last entry: what the index holds. */
  content(): IndexContent {
    return {
      description: this.#description,
      packages: this.#table.size,
      newestBuildTime: this.#newestBuildTime,
      unknownField: null,
    };
  }

  #readEntry(value: number, n: number): IndexEntry {
    const values = this.#values;
    const slots = values.slots(value, `package ${n}`);
    const text = (slot: number): string =>
      values.text(slots.at(slot), `field ${slot} of package ${n}`, textBytes) ?? '';
    const name = text(info.name);
    const version = text(info.version);
    const arch = text(info.arch);
    if (!isPackageName(name)) throw fault('INDEX_NAME', n, `name missing or no package name: ${JSON.stringify(name)}`);
    if (!isVersion(version))
      throw fault('INDEX_VERSION', n, `version of ${name} missing or no version: ${JSON.stringify(version)}`);
    const expected = this.#options.arch;
    const fits = expected === null ? isArch(arch) : arch === expected || (this.#options.noarch && arch === 'noarch');
    if (!fits) {
      const wanted = expected ?? 'one path component';
      throw fault('INDEX_ARCH', n, `arch of ${name}: expected ${wanted}, got ${JSON.stringify(arch)}`);
    }
    const hash = values.blob(slots.at(info.hashes), `the hash of ${name}`);
    const kind = digests[hash?.length ?? 0];
    if (hash === null || kind === undefined)
      throw fault('INDEX_CHECKSUM', n, `the hash of ${name} is missing or has neither 20, 32 nor 64 bytes`);
    const size = values.int(slots.at(info.fileSize), `the file size of ${name}`);
    if (size === null) throw fault('INDEX_SYNTAX', n, `the file size of ${name} is missing`);
    const buildTime = values.int(slots.at(info.buildTime), `the build time of ${name}`);
    const digest = hash.toString('hex');
    const entry = { name, version, arch, identity: `${kind}:${digest}`, size, buildTime };
    const file = this.#pathOf?.({ name, version, arch, hash: digest });
    if (file === undefined && packageFileName(entry).length > maxFileNameBytes)
      throw fault('INDEX_NAME', n, `a package whose file name would be longer than ${maxFileNameBytes} bytes`);
    return file === undefined ? entry : { ...entry, file };
  }
}

function fault(code: VerificationCode, n: number, what: string): FormatError {
  return new FormatError(code, `package ${n} of the index: ${what}`);
}
