/** Decides whether a v2 package is what its index entry says (or, alone, what a trusted key has signed). */
import { createHash, type Hash, hash } from 'node:crypto';
import { type PackageInfo, readControl } from '../apk/control.ts';
import { DataChecker } from '../apk/data.ts';
import type { IndexEntry } from '../apk/entry.ts';
import { inflateMember } from '../apk/gzip.ts';
import { type Head, readHead } from '../apk/head.ts';
import { limits } from '../apk/limits.ts';
import type { Signature } from '../apk/signature.ts';
import { FormatError } from '../errors.ts';
import type { Keyring } from './keyring.ts';
import type { Check } from './pass.ts';
import { beginSignatureCheck } from './signature.ts';
import { withoutRefused } from './standing.ts';

export type SignaturePolicy = 'require' | 'if-present' | 'ignore';

export interface PackageRules {
  /** What the index says; null for a file that stands alone. */
  readonly entry: IndexEntry | null;
  readonly keyring: Keyring;
  readonly packageSignatures: SignaturePolicy;
  /** Also look into the data member as an installing client would (step 7). */
  readonly inflate: boolean;
}

export interface PackageFindings {
  readonly name: string;
  readonly version: string;
  readonly identity: string;
  readonly arch: string | null;
  readonly signedBy: string | null;
}

/** What the control member says, and where it ends in the file. */
type Control = PackageFindings & { readonly dataHash: string; readonly end: number };

export class PackageCheck implements Check<PackageFindings> {
  readonly #rules: PackageRules;
  readonly #size: number;
  readonly #dataHash: Hash = createHash('sha256');
  /** The file so far, until the control member is whole. */
  #start: Buffer = Buffer.alloc(0);
  #head: Head | undefined;
  #control: Control | undefined;
  #data: DataChecker | undefined;

  constructor(rules: PackageRules, size: number) {
    this.#rules = rules;
    this.#size = size;
  }

  async push(chunk: Buffer): Promise<void> {
    if (this.#control !== undefined) {
      await this.#pushData(chunk);
      return;
    }
    const bytes = this.#start.length === 0 ? chunk : Buffer.concat([this.#start, chunk]);
    const control = this.#readStart(bytes);
    if (control === undefined) {
      // Copied: the chunk's memory is used again.
      this.#start = Buffer.from(bytes);
      return;
    }
    this.#control = control;
    this.#start = Buffer.alloc(0);
    if (this.#rules.inflate) this.#data = new DataChecker(this.#size - control.end);
    await this.#pushData(bytes.subarray(control.end));
  }

  async finish(): Promise<PackageFindings> {
    if (this.#control === undefined) throw new FormatError('TRUNCATED', 'the file ends before its control member does');
    const { name, version, identity, arch, signedBy, dataHash, end } = this.#control;
    const matches = this.#dataHash.digest('hex') === dataHash;
    if (!matches && end === this.#size) throw dataMismatch();
    const fault = this.#data?.finish();
    // Where the data begins and ends explains a wrong digest; what it contains only follows from other bytes being there.
    if (fault !== undefined && (matches || explainsMismatch(fault))) throw fault;
    if (!matches) throw dataMismatch();
    return { name, version, identity, arch, signedBy };
  }

  [Symbol.dispose](): void {
    this.#data?.[Symbol.dispose]();
  }

  async #pushData(bytes: Buffer): Promise<void> {
    if (bytes.length === 0) return;
    const inflated = this.#data?.push(bytes);
    this.#dataHash.update(bytes);
    await inflated;
  }

  /** Checks everything up to the data; `undefined` when `bytes` ends before the control member does. */
  #readStart(bytes: Buffer): Control | undefined {
    this.#head ??= readHead(bytes);
    if (this.#head === undefined) return undefined;
    const { start, signatures } = this.#head;
    const member = inflateMember(bytes, start, limits.controlBytes);
    if (member === undefined) return undefined;
    const control = bytes.subarray(start, member.end);
    const identity = hash('sha1', control, 'hex');
    const { entry } = this.#rules;
    if (entry !== null && identity !== entry.identity) {
      throw new FormatError(
        'CONTROL_MISMATCH',
        `the control member has SHA-1 ${identity}, the index says ${entry.identity}`,
      );
    }
    const { name, version, arch, dataHash } = readControl(member.content);
    const signedBy = checkSignature(signatures, control, this.#rules);
    if (entry !== null) checkIdentity({ name, version, arch }, entry);
    return { name, version, identity, arch, signedBy, dataHash, end: member.end };
  }
}

function dataMismatch(): FormatError {
  return new FormatError('DATA_MISMATCH', 'the data is not what datahash in the control member says');
}

function explainsMismatch(fault: FormatError): boolean {
  return ['TRUNCATED', 'FORMAT_MEMBERS', 'FORMAT_TRAILING'].includes(fault.code);
}

/** The name of the key that signed the control member, null where the policy asks for none. */
function checkSignature(signatures: readonly Signature[], control: Buffer, rules: PackageRules): string | null {
  if (rules.packageSignatures === 'ignore') return null;
  // The index authenticates the packages it lists; nothing else does it for one that stands alone.
  const authenticated = rules.packageSignatures === 'if-present' && rules.entry !== null;
  const check = beginSignatureCheck(signatures, authenticated ? withoutRefused(rules.keyring) : rules.keyring);
  if (check === undefined) {
    if (authenticated) return null;
    throw untrusted(signatures);
  }
  check.update(control);
  if (!check.isRight()) throw new FormatError('SIG_BAD', `the signature by ${check.keyName} is wrong`);
  return check.keyName;
}

/** SIG_UNTRUSTED with the names of the keys that would have to be trusted. */
export function untrusted(signatures: readonly Signature[]): FormatError {
  const names = signatures.map((signature) => JSON.stringify(signature.keyName)).join(', ');
  return new FormatError(
    'SIG_UNTRUSTED',
    names === '' ? 'no usable signature' : `no trusted key among the signers: ${names}`,
  );
}

/** Clients do not compare these (i41, i42): a signed index could serve one package under the name of another. */
export function checkIdentity(info: Pick<PackageInfo, 'name' | 'version' | 'arch'>, entry: IndexEntry): void {
  if (info.name !== entry.name || info.version !== entry.version) {
    throw new FormatError(
      'IDENTITY_MISMATCH',
      `the package says it is ${info.name} ${info.version}, the index says ${entry.name} ${entry.version}`,
    );
  }
  if (info.arch !== entry.arch && info.arch !== 'noarch') {
    throw new FormatError(
      'IDENTITY_MISMATCH',
      `the package is for ${info.arch ?? 'no architecture'}, the index for ${entry.arch}`,
    );
  }
}
