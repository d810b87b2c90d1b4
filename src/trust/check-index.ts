/** Decides whether a v2 index is signed by a trusted key and keeps every rule of its format. */
import type { IndexEntry, IndexFileName } from '../apk/entry.ts';
import { whatFollows } from '../apk/gzip.ts';
import { readHead } from '../apk/head.ts';
import { type IndexContent, IndexMember } from '../apk/index-member.ts';
import { FormatError } from '../errors.ts';
import { untrusted } from './check-package.ts';
import type { Keyring } from './keyring.ts';
import type { Check } from './pass.ts';
import { beginSignatureCheck, type SignatureCheck } from './signature.ts';

export interface IndexRules {
  readonly arch: string | null;
  /** The name under which clients ask for it, null for any. */
  readonly fileName: IndexFileName | null;
  readonly keyring: Keyring;
  /** An index without packages is right by its format; false: it is INDEX_EMPTY all the same. */
  readonly acceptEmpty: boolean;
  /** Takes the entries in slices; the next is read when it has settled. */
  readonly onEntries: (entries: readonly IndexEntry[]) => Promise<void>;
}

export interface IndexFindings extends IndexContent {
  readonly signedBy: string;
}

const sliceEntries = 1000;
/** Compressed bytes that are parsed before waiting entries are handed on: it bounds how many can wait. */
const pieceBytes = 8 * 1024;

export class IndexCheck implements Check<IndexFindings> {
  readonly #rules: IndexRules;
  readonly #member: IndexMember;
  #entries: IndexEntry[] = [];
  #start: Buffer = Buffer.alloc(0);
  #signature: SignatureCheck | undefined;
  #after: Buffer = Buffer.alloc(0);
  #fault: FormatError | undefined;
  /** Its first entry is a package's: somebody has put the wrong file there. */
  #holdsPackage = false;

  constructor(rules: IndexRules) {
    this.#rules = rules;
    this.#member = new IndexMember({ arch: rules.arch, onEntry: (entry) => this.#entries.push(entry) });
  }

  async push(chunk: Buffer): Promise<void> {
    if (this.#signature !== undefined) {
      await this.#pushSigned(chunk, this.#signature);
      return;
    }
    const bytes = this.#start.length === 0 ? chunk : Buffer.concat([this.#start, chunk]);
    const head = readHead(bytes);
    if (head === undefined) {
      this.#start = Buffer.from(bytes);
      return;
    }
    this.#signature = beginSignatureCheck(head.signatures, this.#rules.keyring);
    if (this.#signature === undefined) throw untrusted(head.signatures);
    this.#holdsPackage = head.firstRecord.toString('latin1', 0, 9) === '.PKGINFO\0';
    await this.#pushSigned(bytes.subarray(head.start), this.#signature);
  }

  /** A fault in the extent of the file comes before a wrong signature, and that before what the content says. */
  async finish(): Promise<IndexFindings> {
    if (this.#signature === undefined) throw new FormatError('TRUNCATED', 'the file ends within its signature member');
    if (this.#fault === undefined && !this.#member.ended)
      throw new FormatError('TRUNCATED', 'the file ends within the index');
    if (this.#after.length > 0) throw whatFollows(this.#after);
    const { keyName } = this.#signature;
    if (!this.#signature.isRight()) {
      // The signature of a package covers its first member only: right or wrong, it says nothing here.
      if (this.#holdsPackage && this.#fault !== undefined) throw this.#fault;
      throw new FormatError('SIG_BAD', `the signature by ${keyName} is wrong`);
    }
    if (this.#fault !== undefined) throw this.#fault;
    const content = this.#member.finish();
    await this.#handOn();
    if (content.packages === 0 && !this.#rules.acceptEmpty)
      throw new FormatError('INDEX_EMPTY', 'the index names no package');
    return { ...content, signedBy: keyName };
  }

  [Symbol.dispose](): void {
    this.#member[Symbol.dispose]();
  }

  async #pushSigned(bytes: Buffer, signature: SignatureCheck): Promise<void> {
    for (let at = 0; at < bytes.length; at += pieceBytes) {
      const piece = bytes.subarray(at, at + pieceBytes);
      const taken = await this.#pushPiece(piece);
      signature.update(piece.subarray(0, taken));
      if (this.#after.length < 2) this.#after = Buffer.concat([this.#after, piece.subarray(taken, taken + 2)]);
      if (this.#entries.length >= sliceEntries) await this.#handOn();
    }
  }

  /** After a fault the rest still counts as signed: whether the signature is right decides which of the two is told. */
  async #pushPiece(piece: Buffer): Promise<number> {
    if (this.#fault !== undefined) return piece.length;
    try {
      return await this.#member.push(piece);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      this.#fault = error;
      return piece.length;
    }
  }

  async #handOn(): Promise<void> {
    for (let at = 0; at < this.#entries.length; at += sliceEntries) {
      await this.#rules.onEntries(this.#entries.slice(at, at + sliceEntries));
    }
    this.#entries = [];
  }
}
