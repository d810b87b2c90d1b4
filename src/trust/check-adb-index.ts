/** Decides whether a v3 index is signed by a trusted key and keeps every rule of its format. */
import type { AdbSchema } from '../apk/adb-blocks.ts';
import { AdbIndex } from '../apk/adb-index.ts';
import { AdbIndexFile } from '../apk/adb-index-file.ts';
import { AdbPayload, type AdbSignature, readAdbSignature } from '../apk/adb-signature.ts';
import type { IndexEntry } from '../apk/entry.ts';
import { FormatError } from '../errors.ts';
import { untrustedAdb } from './check-adb-package.ts';
import type { IndexFindings, IndexRules } from './check-index.ts';
import type { Check } from './pass.ts';
import { findSigner } from './signature-v3.ts';

const sliceEntries = 1000;

export class AdbIndexCheck implements Check<IndexFindings> {
  readonly #rules: IndexRules;
  readonly #file = new AdbIndexFile(this);
  readonly #signatures: AdbSignature[] = [];
  #payload: AdbPayload | undefined;

  constructor(rules: IndexRules) {
    this.#rules = rules;
  }

  async push(chunk: Buffer): Promise<void> {
    await this.#file.push(chunk);
  }

  async finish(): Promise<IndexFindings> {
    await this.#file.finish();
    const { keyName, refusal } = findSigner(this.#signatures, this.#rules.keyring);
    if (keyName === null) throw refusal ?? untrustedAdb(this.#signatures);
    const { arch, fileName } = this.#rules;
    // Clients that are told `v3 URL` look for packages below a directory of the entry's architecture, others beside the index.
    const index = new AdbIndex(this.#payload?.bytes ?? Buffer.alloc(0), { arch, noarch: fileName !== 'Packages.adb' });
    await this.#handOn(index);
    const content = index.content();
    if (content.packages === 0 && !this.#rules.acceptEmpty)
      throw new FormatError('INDEX_EMPTY', 'the index names no package');
    return { ...content, signedBy: keyName };
  }

  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
  }

  schema(schema: AdbSchema): void {
    if (schema !== 'indx') throw new FormatError('ADB_SCHEMA', 'a package where an index must be');
  }

  adb(bytes: Buffer): void {
    this.#payload = new AdbPayload(bytes);
  }

  signature(block: Buffer): void {
    const signature = this.#payload && readAdbSignature(block, 'indx', this.#payload);
    if (signature !== undefined) this.#signatures.push(signature);
  }

  async #handOn(index: AdbIndex): Promise<void> {
    let slice: IndexEntry[] = [];
    for (const entry of index.entries()) {
      slice.push(entry);
      if (slice.length < sliceEntries) continue;
      await this.#rules.onEntries(slice);
      slice = [];
    }
    if (slice.length > 0) await this.#rules.onEntries(slice);
  }
}
