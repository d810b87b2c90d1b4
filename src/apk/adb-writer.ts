/** Writes the values of an ADB payload one after the other, equal texts once, as apk does. */

export class AdbWriter {
  readonly #parts: Buffer[] = [Buffer.alloc(8)];
  readonly #texts = new Map<string, number>();
  #length = 8;

  /** The value of a whole number up to 2^53. */
  int(number: number): number {
    if (number < 2 ** 28) return word(1, number);
    const wide = number >= 2 ** 32;
    const bytes = Buffer.alloc(wide ? 8 : 4);
    if (wide) bytes.writeBigUInt64LE(BigInt(number));
    else bytes.writeUInt32LE(number);
    return word(wide ? 3 : 2, this.#append(bytes, 4));
  }

  text(text: string): number {
    const known = this.#texts.get(text);
    if (known !== undefined) return known;
    const value = this.blob(Buffer.from(text, 'latin1'));
    this.#texts.set(text, value);
    return value;
  }

  blob(bytes: Buffer): number {
    const width = bytes.length < 2 ** 8 ? 1 : bytes.length < 2 ** 16 ? 2 : 4;
    const length = Buffer.alloc(width);
    length.writeUIntLE(bytes.length, 0, width);
    return word(width === 1 ? 8 : width === 2 ? 9 : 10, this.#append(Buffer.concat([length, bytes]), width));
  }

  /** An object or array with these values in its slots from 1; null ones at the end are left out, and nothing in it is null. */
  object(values: readonly number[]): number {
    const count = values.findLastIndex((value) => value !== 0) + 1;
    if (count === 0) return 0;
    const bytes = Buffer.alloc(4 * (count + 1));
    bytes.writeUInt32LE(count + 1, 0);
    for (const [n, value] of values.slice(0, count).entries()) bytes.writeUInt32LE(value, 4 * (n + 1));
    return word(14, this.#append(bytes, 4));
  }

  /** The payload with this root; `compatibility` other than 0 is for what no reader takes. */
  finish(root: number, compatibility = 0): Buffer {
    const payload = Buffer.concat(this.#parts);
    payload.writeUInt8(compatibility, 0);
    payload.writeUInt32LE(root, 4);
    return payload;
  }

  #append(bytes: Buffer, alignment: number): number {
    const padding = (alignment - (this.#length % alignment)) % alignment;
    if (padding > 0) this.#parts.push(Buffer.alloc(padding));
    const at = this.#length + padding;
    this.#parts.push(bytes);
    this.#length = at + bytes.length;
    return at;
  }
}

function word(type: number, content: number): number {
  return (type * 2 ** 28 + content) >>> 0;
}
