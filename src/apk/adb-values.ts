/** Reads the values of an ADB payload (apk-tools' adb.h). Every offset and length is checked where it is used; nothing is trusted. */
import { FormatError } from '../errors.ts';

/** Slots of an array or object, numbered from 1; what is beyond the last one is null. */
export interface AdbSlots {
  /** Number of slots without the first, which holds the count. */
  readonly length: number;
  /** The value in slot `n`, for the readers of `AdbValues`. */
  at(n: number): number;
}

const none: AdbSlots = { length: 0, at: () => 0 };
const types = {
  special: 0,
  int: 1,
  int32: 2,
  int64: 3,
  blob8: 8,
  blob16: 9,
  blob32: 10,
  array: 13,
  object: 14,
} as const;

/**
 * One payload. Values are 32-bit words: four bits of type, 28 of content. They may share what they point to, and may form
 * cycles; the readers go as deep as the schema and no deeper, and whoever walks an array counts. All throw ADB_SCHEMA.
 */
export class AdbValues {
  readonly #bytes: Buffer;

  constructor(payload: Buffer) {
    this.#bytes = payload;
    if (payload.readUInt8(0) !== 0)
      throw new FormatError('ADB_SCHEMA', `an ADB of compatibility version ${payload.readUInt8(0)}, expected 0`);
  }

  get root(): number {
    return this.#bytes.readUInt32LE(4);
  }

  /** Slots of an array or object (apk writes both with either type); null gives none. */
  slots(value: number, what: string): AdbSlots {
    if (value === 0) return none;
    const [type, at] = split(value);
    if (type !== types.array && type !== types.object) throw wrong(what, 'neither array nor object');
    const bytes = this.#range(at, 4, what);
    const count = bytes.readUInt32LE(0);
    if (at % 4 !== 0 || count < 1) throw wrong(what, `no slots at offset ${at}`);
    const slots = this.#range(at, 4 * count, what);
    return { length: count - 1, at: (n) => (n < count ? slots.readUInt32LE(4 * n) : 0) };
  }

  /** The bytes of a blob, null for null. They are part of the payload. */
  blob(value: number, what: string): Buffer | null {
    if (value === 0) return null;
    const [type, at] = split(value);
    const width = type === types.blob8 ? 1 : type === types.blob16 ? 2 : type === types.blob32 ? 4 : 0;
    if (width === 0) throw wrong(what, 'no blob');
    const length = this.#range(at, width, what).readUIntLE(0, width);
    return this.#range(at + width, length, what);
  }

  /** Text of at most `maxBytes`, one character a byte; null for null. */
  text(value: number, what: string, maxBytes: number): string | null {
    const bytes = this.blob(value, what);
    if (bytes !== null && bytes.length > maxBytes) throw wrong(what, `longer than ${maxBytes} bytes`);
    return bytes?.toString('latin1') ?? null;
  }

  /** A whole number that can be told exactly; null for null. */
  int(value: number, what: string): number | null {
    if (value === 0) return null;
    const [type, at] = split(value);
    if (type === types.int) return at;
    const width = type === types.int32 ? 4 : type === types.int64 ? 8 : 0;
    if (width === 0) throw wrong(what, 'no number');
    const bytes = this.#range(at, width, what);
    if (at % 4 !== 0) throw wrong(what, `a number at offset ${at}, which is no multiple of 4`);
    const number = width === 4 ? bytes.readUInt32LE(0) : Number(bytes.readBigUInt64LE(0));
    if (!Number.isSafeInteger(number)) throw wrong(what, 'a number beyond 2^53');
    return number;
  }

  #range(at: number, length: number, what: string): Buffer {
    if (at + length > this.#bytes.length) throw wrong(what, 'it leads out of the ADB block');
    return this.#bytes.subarray(at, at + length);
  }
}

function split(value: number): [type: number, content: number] {
  return [value >>> 28, value & 0x0fffffff];
}

function wrong(what: string, why: string): FormatError {
  return new FormatError('ADB_SCHEMA', `${what}: ${why}`);
}
