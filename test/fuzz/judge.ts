/** Verifies spoilt files with the real verifier and says whether a promise was broken: a crash, a hang, or a false accept. */
import assert from 'node:assert/strict';
import { type FileHandle, open } from 'node:fs/promises';
import { hash } from 'node:crypto';
import { type IndexEntry, isArch, isPackageName, packageFileName } from '../../src/apk/entry.ts';
import { verificationCodes } from '../../src/errors.ts';
import type { IndexVerdict, PackageVerdict, Verifier } from '../../src/trust/verify.ts';
import type { Specimen } from './corpus.ts';

export interface Judgement {
  /** `accepted`, or the code. */
  readonly word: string;
  readonly ms: number;
}

/** One file that is written anew for each input. Inputs go one after the other. */
export class Judge implements AsyncDisposable {
  readonly #verifier: Verifier;
  readonly #specimens: readonly Specimen[];
  readonly #file: FileHandle;

  private constructor(verifier: Verifier, specimens: readonly Specimen[], file: FileHandle) {
    this.#verifier = verifier;
    this.#specimens = specimens;
    this.#file = file;
  }

  static async open(verifier: Verifier, specimens: readonly Specimen[], path: string): Promise<Judge> {
    return new Judge(verifier, specimens, await open(path, 'w+'));
  }

  /** Throws AssertionError for a false accept, and whatever a crash throws. `signed`: the trusted key has signed these bytes. */
  async judge(specimen: Specimen, bytes: Buffer, signed: boolean): Promise<Judgement> {
    await this.#file.truncate(0);
    await this.#file.write(bytes, 0, bytes.length, 0);
    const entries: IndexEntry[] = [];
    const startedAt = performance.now();
    const verdict = await this.#verify(specimen, entries);
    const ms = performance.now() - startedAt;
    if (verdict.verdict !== 'accepted') {
      assert.ok(verificationCodes.includes(verdict.code), `a code of the closed set, got ${verdict.code}`);
      return { word: verdict.code, ms };
    }
    if (signed) for (const entry of entries) assertPlain(entry);
    else this.#assertAuthentic(specimen, bytes, entries);
    const facts = 'package' in verdict ? verdict.package : verdict.index;
    assert.equal(facts.sha256, hash('sha256', bytes, 'hex'), 'what was hashed is what lies there');
    return { word: 'accepted', ms };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }

  async #verify(specimen: Specimen, entries: IndexEntry[]): Promise<PackageVerdict | IndexVerdict> {
    const { keyring, arch, entry } = specimen;
    const sourceFd = this.#file.fd;
    if (specimen.kind === 'index') {
      const onEntries = (slice: readonly IndexEntry[]): void => void entries.push(...slice);
      return this.#verifier.verifyIndex({ sourceFd, keyring, arch, onEntries });
    }
    const packageSignatures = entry === null ? 'require' : 'if-present';
    return this.#verifier.verifyPackage({
      sourceFd,
      keyring,
      entry,
      packageSignatures,
      inflate: true,
      explainSize: true,
    });
  }

  /** Standing alone, a file may have become another one that the same key has signed: that one is then what it is held against. */
  #assertAuthentic(specimen: Specimen, bytes: Buffer, entries: readonly IndexEntry[]): void {
    const alone = this.#specimens.filter((other) => other.entry === null);
    const candidates = specimen.entry === null ? [specimen, ...alone] : [specimen];
    const original = candidates.find(
      (s) => s.kind === specimen.kind && s.keyring === specimen.keyring && s.format.isAuthentic(bytes, s.bytes),
    );
    assert.ok(original, `${specimen.name}: accepted, and its authenticated bytes are not the original's`);
    assert.deepEqual(entries, original.entries, `${specimen.name}: accepted with other entries`);
  }
}

/** Whatever a trusted key signs, nothing that is accepted may lead out of its directory. */
function assertPlain(entry: IndexEntry): void {
  assert.ok(isPackageName(entry.name) && isArch(entry.arch), `a plain name and architecture: ${JSON.stringify(entry)}`);
  const plain = /^[A-Za-z0-9][A-Za-z0-9._+~-]*\.apk$/;
  // A v3 index may have a rule of its own, with directories below that of the index.
  const ruled = /^(?:[A-Za-z0-9][A-Za-z0-9._+~@=-]*\/)*[A-Za-z0-9][A-Za-z0-9._+~@=-]*\.apk$/;
  assert.match(packageFileName(entry), entry.file === undefined ? plain : ruled);
  assert.ok(Number.isSafeInteger(entry.size) && entry.size >= 0, `a size: ${entry.size}`);
}
