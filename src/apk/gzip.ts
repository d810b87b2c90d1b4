/** Walks the gzip members (RFC 1952) of a file and knows where each begins and ends: apk signs and hashes whole members. */
import { crc32, constants, createInflateRaw, type InflateRaw, inflateRawSync } from 'node:zlib';
import { FormatError } from '../errors.ts';
import { limits } from './limits.ts';

const trailerBytes = 8;

/** One whole member: its bytes are `[start, end)` of the buffer it was read from. */
export interface Member {
  readonly end: number;
  readonly content: Buffer;
}

/**
 * Inflates the member that begins at `start`. `undefined` means that `bytes` ends before the member does. Throws
 * FORMAT_GZIP for what is no gzip and LIMIT at the first byte of content over `cap`.
 */
export function inflateMember(bytes: Buffer, start: number, cap: number): Member | undefined {
  const header = gzipHeaderLength(bytes.subarray(start));
  if (header === undefined) return undefined;
  const { content, consumed, ended } = inflateSome(bytes.subarray(start + header), cap);
  if (!ended) {
    // Empty deflate blocks cost input and give no content; a cap on content alone would read on for ever.
    if (bytes.length - start > cap + limits.gzipHeaderBytes) throw tooLong(cap);
    return undefined;
  }
  const trailer = start + header + consumed;
  if (trailer + trailerBytes > bytes.length) return undefined;
  checkTrailer(bytes.subarray(trailer, trailer + trailerBytes), crc32(content), content.length);
  return { end: trailer + trailerBytes, content };
}

/**
 * The first `count` bytes of the content of the member at `start` (fewer if it is shorter), read from as little input as
 * gives them. `undefined` means that `bytes` ends before that.
 */
export function peekMember(bytes: Buffer, start: number, count: number): Buffer | undefined {
  const header = gzipHeaderLength(bytes.subarray(start));
  if (header === undefined) return undefined;
  const body = bytes.subarray(start + header);
  for (let length = 1024; ; length *= 2) {
    const { content, ended } = inflateSome(body.subarray(0, length), Number.POSITIVE_INFINITY);
    if (ended || content.length >= count) return content.subarray(0, count);
    if (length > limits.peekBytes) throw new FormatError('FORMAT_GZIP', 'a gzip member of many empty blocks');
    if (length >= body.length) return undefined;
  }
}

interface Inflated {
  readonly content: Buffer;
  readonly consumed: number;
  /** True when the deflate stream ended and input is left over; a member always has its trailer left over. */
  readonly ended: boolean;
}

function inflateSome(input: Buffer, cap: number): Inflated {
  try {
    // `info` is documented, but the types do not know what it returns.
    const result = inflateRawSync(input, {
      info: true,
      finishFlush: constants.Z_SYNC_FLUSH,
      ...(cap === Number.POSITIVE_INFINITY ? {} : { maxOutputLength: cap }),
    }) as unknown as { readonly buffer: Buffer; readonly engine: InflateRaw };
    const consumed = result.engine.bytesWritten;
    return { content: result.buffer, consumed, ended: consumed < input.length };
  } catch (error) {
    if (isTooLarge(error)) throw tooLong(cap);
    throw new FormatError('FORMAT_GZIP', 'damaged deflate data in a gzip member');
  }
}

function isTooLarge(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_BUFFER_TOO_LARGE';
}

function tooLong(cap: number): FormatError {
  return new FormatError('LIMIT', `a gzip member holds more than ${cap} bytes`);
}

/**
 * The length of the gzip header that `bytes` begins with, `undefined` if it is cut off. Only deflate without reserved flags;
 * a zlib stream, which apk would take for a later member (p68), is no gzip.
 */
function gzipHeaderLength(bytes: Buffer): number | undefined {
  const fixedBytes = 10;
  if (bytes.length < fixedBytes) return undefined;
  if (bytes.readUIntBE(0, 3) !== 0x1f8b08) throw new FormatError('FORMAT_GZIP', 'no gzip member where one must begin');
  const flags = bytes.readUInt8(3);
  if ((flags & 0xe0) !== 0) throw new FormatError('FORMAT_GZIP', 'reserved flags in a gzip header');
  let at = fixedBytes;
  if ((flags & 4) !== 0) {
    if (bytes.length < at + 2) return undefined;
    at += 2 + bytes.readUInt16LE(at);
  }
  for (const text of [8, 16]) {
    if ((flags & text) === 0) continue;
    const end = bytes.indexOf(0, at);
    if (end < 0 && bytes.length - at > limits.gzipHeaderBytes)
      throw new FormatError('LIMIT', 'a gzip header without end');
    if (end < 0) return undefined;
    at = end + 1;
  }
  if ((flags & 2) !== 0) at += 2;
  return at <= bytes.length ? at : undefined;
}

/** Names the fault of bytes after the last member that a file may have; `after` are its first bytes, two if there are so many. */
export function whatFollows(after: Buffer): FormatError {
  return after[0] === 0x1f && after[1] === 0x8b
    ? new FormatError('FORMAT_MEMBERS', 'another gzip member follows the last one')
    : new FormatError('FORMAT_TRAILING', 'bytes follow the last gzip member');
}

function checkTrailer(trailer: Buffer, crc: number, length: number): void {
  if (trailer.readUInt32LE(0) !== crc) throw new FormatError('FORMAT_GZIP', 'the CRC of a gzip member is wrong');
  if (trailer.readUInt32LE(4) !== length % 2 ** 32)
    throw new FormatError('FORMAT_GZIP', 'the length of a gzip member is wrong');
}

/**
 * Inflates one member that is too big to hold: compressed chunks in, content out to `onContent` in the order of the
 * stream, never more than `cap` bytes of it. What `onContent` throws stops the work at once and comes out of `push`.
 */
export class MemberStream implements Disposable {
  readonly #onContent: (bytes: Buffer) => void;
  readonly #cap: number;
  readonly #inflate: InflateRaw;
  #phase: 'header' | 'body' | 'trailer' | 'ended' = 'header';
  #pending: Buffer = Buffer.alloc(0);
  #crc = 0;
  #length = 0;
  #failure: Error | undefined;

  constructor(cap: number, onContent: (bytes: Buffer) => void) {
    this.#cap = cap;
    this.#onContent = onContent;
    this.#inflate = createInflateRaw({ chunkSize: 64 * 1024 });
    this.#inflate.on('data', (bytes: Buffer) => this.#take(bytes));
    this.#inflate.on('error', () =>
      this.#fail(new FormatError('FORMAT_GZIP', 'damaged deflate data in a gzip member')),
    );
  }

  /** True once the trailer was read and found right. */
  get ended(): boolean {
    return this.#phase === 'ended';
  }

  /** Takes the next chunk, which must stay as it is until this settles; returns how many of its bytes belong to the member. */
  async push(chunk: Buffer): Promise<number> {
    let at = 0;
    while (at < chunk.length && !this.ended) at += await this.#step(chunk.subarray(at));
    return at;
  }

  [Symbol.dispose](): void {
    this.#inflate.destroy();
  }

  async #step(chunk: Buffer): Promise<number> {
    if (this.#phase === 'body') {
      const consumed = await this.#inflateChunk(chunk);
      if (consumed < chunk.length) this.#phase = 'trailer';
      return consumed;
    }
    const before = this.#pending.length;
    // A few bytes more than needed do no harm: only what the header or trailer takes is counted as consumed.
    const bytes = Buffer.concat([this.#pending, chunk.subarray(0, limits.gzipHeaderBytes)]);
    const length =
      this.#phase === 'header' ? gzipHeaderLength(bytes) : bytes.length < trailerBytes ? undefined : trailerBytes;
    if (length === undefined) {
      this.#pending = bytes;
      return bytes.length - before;
    }
    if (this.#phase === 'trailer') checkTrailer(bytes, this.#crc, this.#length);
    this.#phase = this.#phase === 'header' ? 'body' : 'ended';
    this.#pending = Buffer.alloc(0);
    return length - before;
  }

  async #inflateChunk(chunk: Buffer): Promise<number> {
    const before = this.#inflate.bytesWritten;
    await new Promise<void>((resolve) => {
      this.#inflate.once('close', resolve);
      this.#inflate.write(chunk, () => {
        this.#inflate.off('close', resolve);
        resolve();
      });
    });
    if (this.#failure !== undefined) throw this.#failure;
    return this.#inflate.bytesWritten - before;
  }

  #take(bytes: Buffer): void {
    if (this.#failure !== undefined) return;
    try {
      this.#length += bytes.length;
      if (this.#length > this.#cap) throw tooLong(this.#cap);
      this.#crc = crc32(bytes, this.#crc);
      this.#onContent(bytes);
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    this.#failure ??= error instanceof Error ? error : new Error(String(error));
    this.#inflate.destroy();
  }
}
