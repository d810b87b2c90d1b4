/** Reads the blocks of an uncompressed v3 file as they stream by (apk-tools' adb.h): one ADB, then SIG, then DATA. */
import { FormatError } from '../errors.ts';
import { limits } from './limits.ts';

/** `pckg` a package, `indx` an index. */
export type AdbSchema = 'pckg' | 'indx';

export interface AdbHandler {
  schema(schema: AdbSchema): void;
  /** The payload of the ADB block; the buffer is the handler's to keep. */
  adb(payload: Buffer): void;
  /** The payload of one SIG block; the buffer is the handler's to keep. */
  signature(payload: Buffer): void;
  /** A DATA block begins: `size` bytes of the file with these indexes (from 1) follow through `content`, then `endData`. */
  beginData(path: number, file: number, size: number): void;
  /** A piece of the present DATA block; only valid during the call. */
  content(bytes: Buffer): void;
  endData(): void;
}

type Kind = 'adb' | 'signature' | 'data';

const kinds: readonly Kind[] = ['adb', 'signature', 'data'];
/** The type of a block whose size has 64 bits; its real type stands where others have the size. */
const extended = 3;
const shortHeaderBytes = 4;
const longHeaderBytes = 16;
const fileHeaderBytes = 8;
const dataHeaderBytes = 8;
const alignment = 8;
/** The header of a payload, and the smallest object after it. */
const smallestAdbBytes = 16;

/** A block that must not be where it is; whether it is one at all shows when the file ends within it. */
interface Stranger {
  readonly what: string;
  left: number;
}

export class AdbBlockReader {
  readonly #handler: AdbHandler;
  readonly #adbCap: number;
  #phase: 'file' | 'header' | 'longHeader' | 'payload' | 'dataHeader' | 'data' | 'padding' | 'stranger' = 'file';
  #pending: Buffer = Buffer.alloc(0);
  #last: Kind | undefined;
  #signatures = 0;
  /** Payload bytes of the present block that are still to come, and the padding after them. */
  #left = 0;
  #padding = 0;
  #payload: Buffer = Buffer.alloc(0);
  #filled = 0;
  #stranger: Stranger | undefined;

  /** `adbCap`: the largest ADB payload in bytes; it is held in memory. */
  constructor(handler: AdbHandler, adbCap: number) {
    this.#handler = handler;
    this.#adbCap = adbCap;
  }

  /** Takes the next bytes. Throws ADB_SCHEMA, ADB_BLOCK, ADB_PADDING, LIMIT, and what the handler throws. */
  push(bytes: Buffer): void {
    for (let at = 0; at < bytes.length; ) at += this.#step(bytes.subarray(at));
  }

  /** After the last byte. Throws TRUNCATED, FORMAT_TRAILING, or ADB_BLOCK when there is no ADB block or one too many. */
  finish(): void {
    if (this.#stranger !== undefined) {
      throw this.#stranger.left > 0
        ? new FormatError('FORMAT_TRAILING', 'bytes that are no block follow the last one')
        : new FormatError('ADB_BLOCK', this.#stranger.what);
    }
    if (this.#phase === 'header' && this.#pending.length > 0 && this.#last !== undefined)
      throw new FormatError('FORMAT_TRAILING', `${this.#pending.length} bytes follow the last block`);
    if (this.#phase !== 'header' || this.#pending.length > 0)
      throw new FormatError('TRUNCATED', 'the file ends within a block');
    if (this.#last === undefined) throw new FormatError('ADB_BLOCK', 'the file holds no ADB block');
  }

  #step(bytes: Buffer): number {
    switch (this.#phase) {
      case 'file':
        return this.#collect(bytes, fileHeaderBytes, (header) => this.#takeFileHeader(header));
      case 'header':
        return this.#collect(bytes, shortHeaderBytes, (header) => this.#takeHeader(header));
      case 'longHeader':
        return this.#collect(bytes, longHeaderBytes, (header) => this.#takeLongHeader(header));
      case 'payload':
        return this.#takePayload(bytes);
      case 'dataHeader':
        return this.#collect(bytes, dataHeaderBytes, (header) => this.#takeDataHeader(header));
      case 'data':
        return this.#takeData(bytes);
      case 'padding':
        return this.#takePadding(bytes);
      case 'stranger':
        return this.#passOver(bytes);
      default:
        return this.#phase satisfies never;
    }
  }

  /** Gathers `length` bytes, however they are cut, and hands them on; returns how many of `bytes` were used. */
  #collect(bytes: Buffer, length: number, take: (whole: Buffer) => void): number {
    const used = Math.min(bytes.length, length - this.#pending.length);
    const whole = Buffer.concat([this.#pending, bytes.subarray(0, used)]);
    const ready = whole.length === length;
    this.#pending = ready ? Buffer.alloc(0) : whole;
    if (ready) take(whole);
    return used;
  }

  #takeFileHeader(header: Buffer): void {
    if (header.toString('latin1', 0, 4) !== 'ADB.')
      throw new FormatError('ADB_BLOCK', 'the uncompressed file does not begin with "ADB."');
    const schema = header.toString('latin1', 4, 8);
    if (schema !== 'pckg' && schema !== 'indx') {
      throw new FormatError('ADB_SCHEMA', `neither a package nor an index: schema ${JSON.stringify(schema)}`);
    }
    this.#phase = 'header';
    this.#handler.schema(schema);
  }

  #takeHeader(header: Buffer): void {
    const word = header.readUInt32LE(0);
    if (word >>> 30 === extended) {
      this.#pending = header;
      this.#phase = 'longHeader';
      return;
    }
    this.#takeBlock(word >>> 30, word & 0x3fffffff, shortHeaderBytes);
  }

  #takeLongHeader(header: Buffer): void {
    // A number of 64 bits that is no exact number any more is far over every limit.
    this.#takeBlock(header.readUInt32LE(0) & 0x3fffffff, Number(header.readBigUInt64LE(8)), longHeaderBytes);
  }

  /** `rawSize` counts the header too. */
  #takeBlock(type: number, rawSize: number, headerBytes: number): void {
    const kind = kinds[type];
    if (kind === undefined) throw new FormatError('ADB_BLOCK', 'an unknown type of block');
    const size = rawSize - headerBytes;
    this.#padding = (alignment - (rawSize % alignment)) % alignment;
    if (!this.#mayFollow(kind)) {
      if (this.#last === undefined) throw new FormatError('ADB_BLOCK', `a ${kind} block before the ADB block`);
      const what = kind === 'adb' ? 'a second ADB block' : 'a signature after the data';
      this.#stranger = { what, left: size < 0 ? Number.POSITIVE_INFINITY : size + this.#padding };
      this.#phase = 'stranger';
      return;
    }
    if (size < 0) throw new FormatError('ADB_BLOCK', `a ${kind} block of ${rawSize} bytes with its header`);
    this.#last = kind;
    this.#left = size;
    this.#begin(kind, size);
  }

  #mayFollow(kind: Kind): boolean {
    if (kind === 'adb') return this.#last === undefined;
    return this.#last !== undefined && (kind === 'data' || this.#last !== 'data');
  }

  #begin(kind: Kind, size: number): void {
    if (kind === 'data') {
      if (size < dataHeaderBytes) throw new FormatError('ADB_BLOCK', `a DATA block of ${size} bytes`);
      this.#left = size - dataHeaderBytes;
      this.#phase = 'dataHeader';
      return;
    }
    if (kind === 'adb' && size < smallestAdbBytes) throw new FormatError('ADB_BLOCK', `an ADB block of ${size} bytes`);
    const cap = kind === 'adb' ? this.#adbCap : limits.adbSignatureBytes;
    if (size > cap) throw new FormatError('LIMIT', `a ${kind} block of ${size} bytes, at most ${cap}`);
    if (kind === 'signature') this.#signatures += 1;
    if (this.#signatures > limits.adbSignatures)
      throw new FormatError('LIMIT', `more than ${limits.adbSignatures} signatures`);
    // What a block claims is not what it has: memory grows with the bytes that come.
    this.#payload = Buffer.allocUnsafeSlow(Math.min(size, 64 * 1024));
    this.#filled = 0;
    this.#phase = 'payload';
    if (size === 0) this.#endPayload();
  }

  #takePayload(bytes: Buffer): number {
    const piece = bytes.subarray(0, this.#left);
    this.#reserve(piece.length);
    piece.copy(this.#payload, this.#filled);
    this.#filled += piece.length;
    this.#left -= piece.length;
    if (this.#left === 0) this.#endPayload();
    return piece.length;
  }

  #reserve(more: number): void {
    const needed = this.#filled + more;
    if (needed <= this.#payload.length) return;
    const whole = this.#filled + this.#left;
    const larger = Buffer.allocUnsafeSlow(Math.min(whole, Math.max(needed, 2 * this.#payload.length)));
    this.#payload.copy(larger, 0, 0, this.#filled);
    this.#payload = larger;
  }

  #endPayload(): void {
    const payload = this.#payload.subarray(0, this.#filled);
    this.#payload = Buffer.alloc(0);
    this.#endBlock();
    if (this.#last === 'adb') this.#handler.adb(payload);
    else this.#handler.signature(payload);
  }

  #takeDataHeader(header: Buffer): void {
    this.#phase = 'data';
    this.#handler.beginData(header.readUInt32LE(0), header.readUInt32LE(4), this.#left);
    if (this.#left === 0) this.#endData();
  }

  #takeData(bytes: Buffer): number {
    const piece = bytes.subarray(0, this.#left);
    this.#left -= piece.length;
    this.#handler.content(piece);
    if (this.#left === 0) this.#endData();
    return piece.length;
  }

  #endData(): void {
    this.#endBlock();
    this.#handler.endData();
  }

  #endBlock(): void {
    this.#phase = this.#padding > 0 ? 'padding' : 'header';
  }

  #takePadding(bytes: Buffer): number {
    const piece = bytes.subarray(0, this.#padding);
    if (piece.some((byte) => byte !== 0)) throw new FormatError('ADB_PADDING', 'the padding of a block is not zero');
    this.#padding -= piece.length;
    if (this.#padding === 0) this.#phase = 'header';
    return piece.length;
  }

  #passOver(bytes: Buffer): number {
    if (this.#stranger !== undefined) this.#stranger.left = Math.max(0, this.#stranger.left - bytes.length);
    return bytes.length;
  }
}
