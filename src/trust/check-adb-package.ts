/** Decides whether a v3 package is what its index entry says (or, alone, what a trusted key has signed). */
import { AdbBlockReader, type AdbHandler, type AdbSchema } from '../apk/adb-blocks.ts';
import { AdbContainer } from '../apk/adb-container.ts';
import { AdbDataChecker } from '../apk/adb-data.ts';
import { readAdbPackage } from '../apk/adb-package.ts';
import { AdbPayload, type AdbSignature, readAdbSignature } from '../apk/adb-signature.ts';
import { limits } from '../apk/limits.ts';
import { FormatError } from '../errors.ts';
import { checkIdentity, type PackageFindings, type PackageRules } from './check-package.ts';
import type { Check } from './pass.ts';
import { findSigner } from './signature-v3.ts';
import { withoutRefused } from './standing.ts';

/**
 * The ADB block comes first, its signatures next: before the first DATA block it is decided whether they are to be believed,
 * and only then is read what the ADB block says. The order of the blocks is checked to the end even if they are not.
 */
export class AdbPackageCheck implements Check<PackageFindings>, AdbHandler {
  readonly #rules: PackageRules;
  readonly #container: AdbContainer;
  readonly #blocks: AdbBlockReader;
  readonly #signatures: AdbSignature[] = [];
  #payload: AdbPayload | undefined;
  #identity = '';
  #found: PackageFindings | FormatError | undefined;
  #data: AdbDataChecker | undefined;

  constructor(rules: PackageRules, size: number) {
    this.#rules = rules;
    this.#blocks = new AdbBlockReader(this, limits.adbPackageBytes);
    this.#container = new AdbContainer({
      cap: limits.dataBytes + limits.dataRatio * size,
      onBytes: (bytes) => this.#blocks.push(bytes),
    });
  }

  async push(chunk: Buffer): Promise<void> {
    await this.#container.push(chunk);
  }

  async finish(): Promise<PackageFindings> {
    await this.#container.finish();
    this.#blocks.finish();
    const found = this.#decide();
    if (found instanceof FormatError) throw found;
    this.#data?.finish();
    return found;
  }

  [Symbol.dispose](): void {
    this.#container[Symbol.dispose]();
  }

  schema(schema: AdbSchema): void {
    if (schema !== 'pckg') throw new FormatError('ADB_SCHEMA', 'an index where a package must be');
  }

  adb(bytes: Buffer): void {
    const payload = new AdbPayload(bytes);
    const wanted = this.#rules.entry?.identity ?? 'sha256:';
    const identity = payload.identityLike(wanted);
    if (identity === undefined || (this.#rules.entry !== null && identity !== wanted)) {
      throw new FormatError(
        'CONTROL_MISMATCH',
        `the ADB block has ${identity ?? 'no SHA-1'}, the index says ${wanted}`,
      );
    }
    this.#identity = identity;
    this.#payload = payload;
  }

  signature(block: Buffer): void {
    const signature = this.#payload && readAdbSignature(block, 'pckg', this.#payload);
    if (signature !== undefined) this.#signatures.push(signature);
  }

  beginData(path: number, file: number, size: number): void {
    this.#decide();
    this.#data?.begin(path, file, size);
  }

  content(bytes: Buffer): void {
    this.#data?.content(bytes);
  }

  endData(): void {
    this.#data?.end();
  }

  /** Once, when all signatures are known: what the package is, or why it is not to be believed. */
  #decide(): PackageFindings | FormatError {
    this.#found ??= this.#read();
    return this.#found;
  }

  #read(): PackageFindings | FormatError {
    const payload = this.#payload?.bytes ?? Buffer.alloc(0);
    const signedBy = this.#signedBy();
    if (signedBy instanceof FormatError) return signedBy;
    const { name, version, arch, files } = readAdbPackage(payload);
    if (this.#rules.entry !== null) checkIdentity({ name, version, arch }, this.#rules.entry);
    this.#data = new AdbDataChecker(files());
    return { name, version, identity: this.#identity, arch, signedBy };
  }

  #signedBy(): string | null | FormatError {
    const { entry, keyring, packageSignatures } = this.#rules;
    if (packageSignatures === 'ignore') return null;
    // The index authenticates the packages it lists; nothing else does it for one that stands alone.
    const authenticated = packageSignatures === 'if-present' && entry !== null;
    const signer = findSigner(this.#signatures, authenticated ? withoutRefused(keyring) : keyring);
    if (signer.keyName !== null) return signer.keyName;
    // What says that it is by a trusted key must be.
    if (authenticated && !signer.claimed) return null;
    return signer.refusal ?? untrustedAdb(this.#signatures);
  }
}

/** SIG_UNTRUSTED with the ids of the keys that would have to be trusted. */
export function untrustedAdb(signatures: readonly AdbSignature[]): FormatError {
  const ids = signatures.map((signature) => signature.keyId).join(', ');
  return new FormatError(
    'SIG_UNTRUSTED',
    ids === '' ? 'no usable signature' : `no right signature by a trusted key; key ids: ${ids}`,
  );
}
