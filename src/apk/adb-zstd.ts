/** Walks the frame of a zstd stream (RFC 8878) without decompressing it: says where it ends and how large a window it asks for. */
import { FormatError } from '../errors.ts';
import { limits } from './limits.ts';

const magic = 0xfd2fb528;
/** Magic, descriptor, window, dictionary id and content size, at their longest. */
const longestHeader = 4 + 1 + 1 + 4 + 8;

interface FrameHeader {
  readonly length: number;
  readonly checksum: boolean;
}

/** Follows one frame as it streams by. What comes after it is not looked at: an apk file holds exactly one. */
export class ZstdFrame {
  #phase: 'header' | 'block' | 'body' | 'checksum' | 'ended' = 'header';
  #pending: Buffer = Buffer.alloc(0);
  /** Bytes of the present block (or of the checksum) that are still to come. */
  #left = 0;
  #last = false;
  #checksum = false;

  /** True once the last byte of the frame went by. */
  get ended(): boolean {
    return this.#phase === 'ended';
  }

  /** How many bytes of `chunk` belong to the frame. Throws ADB_COMPRESSION for what is no frame, LIMIT for too large a window. */
  push(chunk: Buffer): number {
    let at = 0;
    while (at < chunk.length && !this.ended) at += this.#step(chunk.subarray(at));
    return at;
  }

  #step(chunk: Buffer): number {
    if (this.#phase === 'body' || this.#phase === 'checksum') {
      const taken = Math.min(this.#left, chunk.length);
      this.#left -= taken;
      if (this.#left === 0) this.#endPart();
      return taken;
    }
    const before = this.#pending.length;
    const bytes = Buffer.concat([this.#pending, chunk.subarray(0, longestHeader)]);
    const length = this.#phase === 'header' ? this.#readHeader(bytes) : this.#readBlock(bytes);
    this.#pending = length === undefined ? bytes : Buffer.alloc(0);
    return (length ?? bytes.length) - before;
  }

  #readHeader(bytes: Buffer): number | undefined {
    const header = readFrameHeader(bytes);
    if (header === undefined) return undefined;
    this.#checksum = header.checksum;
    this.#phase = 'block';
    return header.length;
  }

  #readBlock(bytes: Buffer): number | undefined {
    if (bytes.length < 3) return undefined;
    const word = bytes.readUIntLE(0, 3);
    const type = (word >> 1) & 3;
    if (type === 3) throw damaged();
    this.#last = (word & 1) === 1;
    // A block of one repeated byte has just that byte in the stream, whatever its size.
    this.#left = type === 1 ? 1 : word >>> 3;
    this.#phase = 'body';
    if (this.#left === 0) this.#endPart();
    return 3;
  }

  #endPart(): void {
    if (this.#phase === 'checksum') this.#phase = 'ended';
    else if (!this.#last) this.#phase = 'block';
    else if (this.#checksum) [this.#phase, this.#left] = ['checksum', 4];
    else this.#phase = 'ended';
  }
}

function readFrameHeader(bytes: Buffer): FrameHeader | undefined {
  if (bytes.length < 5) return undefined;
  if (bytes.readUInt32LE(0) !== magic) throw new FormatError('ADB_COMPRESSION', 'no zstd frame where one must begin');
  const descriptor = bytes.readUInt8(4);
  if ((descriptor & 8) !== 0) throw damaged();
  const single = (descriptor & 0x20) !== 0;
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3] ?? 0;
  const sizeBytes = [single ? 1 : 0, 2, 4, 8][descriptor >>> 6] ?? 0;
  const sizeAt = 5 + (single ? 0 : 1) + dictionaryBytes;
  const length = sizeAt + sizeBytes;
  if (bytes.length < length) return undefined;
  const window = single ? readSize(bytes, sizeAt, sizeBytes) : readWindow(bytes.readUInt8(5));
  if (window > 2 ** limits.zstdWindowLog) {
    throw new FormatError('LIMIT', `a zstd window of ${window} bytes, at most ${2 ** limits.zstdWindowLog}`);
  }
  return { length, checksum: (descriptor & 4) !== 0 };
}

function readSize(bytes: Buffer, at: number, length: number): number {
  if (length === 8) return Number(bytes.readBigUInt64LE(at));
  return bytes.readUIntLE(at, length) + (length === 2 ? 256 : 0);
}

function readWindow(byte: number): number {
  const base = 2 ** (10 + (byte >>> 3));
  return base + (base / 8) * (byte & 7);
}

function damaged(): FormatError {
  return new FormatError('ADB_COMPRESSION', 'damaged zstd data');
}
