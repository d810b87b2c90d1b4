/** Holds the DATA blocks of a v3 package against the files it names: none missing, none extra, in order, each with its hash. */
import { createHash, type Hash } from 'node:crypto';
import { FormatError } from '../errors.ts';
import type { AdbFile } from './adb-package.ts';

const algorithms: Readonly<Record<number, string>> = { 20: 'sha1', 32: 'sha256', 64: 'sha512' };

export class AdbDataChecker {
  readonly #files: Generator<AdbFile, void>;
  #file: AdbFile | undefined;
  #hash: Hash | undefined;

  /** `files`: those that have content, in order; read as the blocks come. */
  constructor(files: Generator<AdbFile, void>) {
    this.#files = files;
  }

  /** Throws ADB_BLOCK when the block is not the next file's, and what reading the next file throws. */
  begin(path: number, file: number, size: number): void {
    const next = this.#files.next();
    if (next.done === true) throw new FormatError('ADB_BLOCK', 'a DATA block more than the package has files');
    this.#file = next.value;
    if (next.value.path !== path || next.value.file !== file) {
      throw new FormatError(
        'ADB_BLOCK',
        `a DATA block for file ${path}/${file}, expected ${next.value.path}/${next.value.file}`,
      );
    }
    if (next.value.size !== size) {
      throw new FormatError('ADB_BLOCK', `a DATA block of ${size} bytes for a file of ${next.value.size}`);
    }
    this.#hash = createHash(algorithms[next.value.hash.length] ?? '');
  }

  content(bytes: Buffer): void {
    this.#hash?.update(bytes);
  }

  /** Throws ADB_DATA_HASH when the content is not the file's. */
  end(): void {
    const file = this.#file;
    if (file === undefined || this.#hash?.digest().equals(file.hash) === true) return;
    const name = JSON.stringify(file.name.slice(0, 200));
    throw new FormatError('ADB_DATA_HASH', `the content of ${name} has another hash than the package says`);
  }

  /** After the last block. Throws ADB_BLOCK when a file has none, and what reading the last files throws. */
  finish(): void {
    const next = this.#files.next();
    if (next.done !== true)
      throw new FormatError(
        'ADB_BLOCK',
        `the DATA block of ${JSON.stringify(next.value.name.slice(0, 200))} is missing`,
      );
  }
}
