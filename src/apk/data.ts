/** Checks the data member of a package as strictly as a client that installs it would, and that nothing follows it. */
import { FormatError } from '../errors.ts';
import { inflateMember, type Member, MemberStream, whatFollows } from './gzip.ts';
import { limits } from './limits.ts';
import { checkPath } from './path.ts';
import { type TarEntry, TarReader } from './tar.ts';

/** Data members up to this size, inflating to no more than this many times it, are inflated in one go: a stream costs more. */
const smallBytes = 128 * 1024;
const smallRatio = 16;

export class DataChecker implements Disposable {
  readonly #tar = new TarReader({ entry: checkEntry }, { endBlocks: 'allowed' });
  readonly #size: number;
  #stream: MemberStream | undefined;
  #inflated = 0;
  #given = 0;
  #ended = false;
  #after: Buffer = Buffer.alloc(0);
  #failure: FormatError | undefined;

  /** `size`: compressed bytes from the start of the data member to the end of the file. */
  constructor(size: number) {
    this.#size = size;
  }

  /** Takes the next compressed bytes, which must stay as they are until this settles. Never throws for what they say. */
  async push(chunk: Buffer): Promise<void> {
    if (this.#failure !== undefined) return;
    this.#given += chunk.length;
    try {
      const taken = this.#takeSmall(chunk) ?? (await this.#takePiece(chunk));
      if (this.#after.length < 2) this.#after = Buffer.concat([this.#after, chunk.subarray(taken, taken + 2)]);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      this.#failure = error;
    }
  }

  /** After the last byte: what is wrong, if anything. TRUNCATED, FORMAT_MEMBERS, FORMAT_TRAILING, FORMAT_GZIP, FORMAT_TAR, DATA_PATH or LIMIT. */
  finish(): FormatError | undefined {
    if (this.#failure !== undefined) return this.#failure;
    if (this.#given === 0) return new FormatError('FORMAT_MEMBERS', 'the data member is missing');
    if (!this.#ended) return new FormatError('TRUNCATED', 'the file ends within the data member');
    if (this.#after.length > 0) return whatFollows(this.#after);
    if (this.#inflated === 0) return new FormatError('FORMAT_MEMBERS', 'the data member is empty');
    try {
      this.#tar.finish();
      return undefined;
    } catch (error) {
      if (error instanceof FormatError) return error;
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#stream?.[Symbol.dispose]();
  }

  /** The end of the member if `chunk` is all of a small one; `undefined` if it must be streamed. */
  #takeSmall(chunk: Buffer): number | undefined {
    if (chunk.length !== this.#size || chunk.length > smallBytes) return undefined;
    const member = inflateSmall(chunk);
    if (member === undefined) return undefined;
    this.#ended = true;
    this.#takeContent(member.content);
    return member.end;
  }

  async #takePiece(chunk: Buffer): Promise<number> {
    const cap = limits.dataBytes + limits.dataRatio * this.#size;
    this.#stream ??= new MemberStream(cap, (bytes) => this.#takeContent(bytes));
    const taken = await this.#stream.push(chunk);
    this.#ended = this.#stream.ended;
    return taken;
  }

  #takeContent(bytes: Buffer): void {
    this.#inflated += bytes.length;
    this.#tar.push(bytes);
  }
}

function inflateSmall(chunk: Buffer): Member | undefined {
  try {
    return inflateMember(chunk, 0, smallBytes * smallRatio);
  } catch (error) {
    if (error instanceof FormatError && error.code === 'LIMIT') return undefined;
    throw error;
  }
}

function checkEntry(entry: TarEntry): void {
  checkPath(entry.name);
  if (entry.type === '1') checkPath(entry.linkName);
}
