/** Reads a tar stream record by record under the strict rules of ustar; what its entries mean is for the caller to say. */
import { FormatError } from '../errors.ts';
import { limits } from './limits.ts';

export interface TarEntry {
  /** The name after pax and GNU long names, with `prefix/` before it where the header has one. */
  readonly name: string;
  readonly linkName: string;
  /** The type flag: `0` file, `1` hard link, `2` symlink, `5` directory …; a NUL counts as `0`. */
  readonly type: string;
  readonly size: number;
  /** The keys of the pax records that apply to this entry. */
  readonly paxKeys: readonly string[];
}

export interface TarHandler {
  /** A header was read; its content follows through `content`. */
  entry(entry: TarEntry): void;
  /** A piece of the present entry's content; only valid during the call. */
  content?(bytes: Buffer): void;
}

export interface TarOptions {
  /** Blocks of zeros mark the end of an archive; before the last member of an apk file they break it for every client. */
  readonly endBlocks: 'allowed' | 'refused';
}

const recordBytes = 512;
const zeros = Buffer.alloc(recordBytes);

export class TarReader {
  readonly #handler: TarHandler;
  readonly #options: TarOptions;
  readonly #header = Buffer.alloc(recordBytes);
  #headerLength = 0;
  /** Bytes of content, then of padding, that are still to come for the present entry. */
  #content = 0;
  #padding = 0;
  /** Set while the content of a pax header or a GNU long name is collected. */
  #special: { readonly type: string; readonly parts: Buffer[] } | undefined;
  #pax = new Map<string, string>();
  #longName: string | undefined;
  #atEnd = false;

  constructor(handler: TarHandler, options: TarOptions) {
    this.#handler = handler;
    this.#options = options;
  }

  /** Takes the next bytes of the stream. Throws FORMAT_TAR, or LIMIT for an oversize pax header. */
  push(bytes: Buffer): void {
    let at = 0;
    while (at < bytes.length) {
      if (this.#content > 0) {
        const piece = bytes.subarray(at, at + this.#content);
        this.#content -= piece.length;
        at += piece.length;
        this.#takeContent(piece);
      } else if (this.#padding > 0) {
        const length = Math.min(this.#padding, bytes.length - at);
        this.#padding -= length;
        at += length;
      } else {
        const length = bytes.copy(this.#header, this.#headerLength, at, at + recordBytes - this.#headerLength);
        this.#headerLength += length;
        at += length;
        if (this.#headerLength === recordBytes) this.#takeHeader();
      }
    }
  }

  /** Says that the stream has ended; throws FORMAT_TAR when it ended within an entry. */
  finish(): void {
    if (this.#headerLength > 0 || this.#content > 0 || this.#padding > 0) {
      throw new FormatError('FORMAT_TAR', 'the tar stream ends within an entry');
    }
    if (this.#pax.size > 0 || this.#longName !== undefined) {
      throw new FormatError('FORMAT_TAR', 'the tar stream ends after a pax header or long name');
    }
  }

  #takeHeader(): void {
    this.#headerLength = 0;
    if (zeros.equals(this.#header)) {
      if (this.#options.endBlocks === 'refused')
        throw new FormatError('FORMAT_TAR', 'end-of-archive blocks before the last member');
      this.#atEnd = true;
      return;
    }
    if (this.#atEnd) throw new FormatError('FORMAT_TAR', 'an entry after the end-of-archive blocks');
    const header = readHeader(this.#header);
    this.#content = header.size;
    this.#padding = (recordBytes - (header.size % recordBytes)) % recordBytes;
    // Global pax headers (g) and GNU long link names (K) are passed over, as apk does.
    if (['x', 'L', 'g', 'K'].includes(header.type)) {
      if (header.size > limits.paxBytes)
        throw new FormatError('LIMIT', `a pax header or long name of ${header.size} bytes`);
      this.#special = { type: header.type, parts: [] };
      if (header.size === 0) this.#takeSpecial();
      return;
    }
    if (this.#pax.has('size')) throw new FormatError('FORMAT_TAR', 'a pax size record, which clients pass over');
    const entry: TarEntry = {
      name: this.#pax.get('path') ?? this.#longName ?? header.name,
      linkName: this.#pax.get('linkpath') ?? header.linkName,
      type: header.type,
      size: header.size,
      paxKeys: [...this.#pax.keys()],
    };
    this.#pax.clear();
    this.#longName = undefined;
    this.#handler.entry(entry);
  }

  #takeContent(piece: Buffer): void {
    if (this.#special === undefined) {
      this.#handler.content?.(piece);
      return;
    }
    this.#special.parts.push(Buffer.from(piece));
    if (this.#content === 0) this.#takeSpecial();
  }

  #takeSpecial(): void {
    const { type, parts } = this.#special ?? { type: '', parts: [] };
    this.#special = undefined;
    const bytes = Buffer.concat(parts);
    if (type === 'x') this.#pax = parsePax(bytes);
    if (type === 'L') this.#longName = cString(bytes);
  }
}

interface Header {
  readonly name: string;
  readonly linkName: string;
  readonly type: string;
  readonly size: number;
}

/** Reads one header record: magic, checksum and octal fields must all be right (apk itself does not look at the checksum). */
function readHeader(header: Buffer): Header {
  if (header.toString('latin1', 257, 262) !== 'ustar')
    throw new FormatError('FORMAT_TAR', 'no ustar magic in a tar header');
  let sum = 8 * 0x20;
  for (const [i, byte] of header.entries()) if (i < 148 || i >= 156) sum += byte;
  if (sum !== readOctal(header, 148, 8)) throw new FormatError('FORMAT_TAR', 'the checksum of a tar header is wrong');
  // mode, uid, gid, mtime, devmajor, devminor: not used here, but clients refuse what is no octal number.
  for (const [at, length] of [
    [100, 8],
    [108, 8],
    [116, 8],
    [136, 12],
    [329, 8],
    [337, 8],
  ] as const)
    readOctal(header, at, length);
  const name = cString(header.subarray(0, 100));
  // GNU tar keeps other things where POSIX has the prefix; its magic goes on with a space.
  const prefix = header[262] === 0 ? cString(header.subarray(345, 500)) : '';
  return {
    name: prefix === '' ? name : `${prefix}/${name}`,
    linkName: cString(header.subarray(157, 257)),
    type: header[156] === 0 ? '0' : String.fromCharCode(header[156] ?? 0),
    size: readOctal(header, 124, 12),
  };
}

function readOctal(header: Buffer, at: number, length: number): number {
  const text = header.toString('latin1', at, at + length);
  if (!/^ *[0-7]*[ \0]*$/.test(text)) throw new FormatError('FORMAT_TAR', 'a field of a tar header is no octal number');
  const digits = text.replaceAll(/[ \0]/g, '');
  return digits === '' ? 0 : Number.parseInt(digits, 8);
}

/** Text up to the first NUL. Latin-1, so that every byte is one character and nothing is lost. */
function cString(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString('latin1', 0, end < 0 ? bytes.length : end);
}

/** The records `LENGTH KEY=VALUE\n` of a pax header. */
function parsePax(bytes: Buffer): Map<string, string> {
  const records = new Map<string, string>();
  const text = bytes.toString('latin1');
  for (let at = 0; at < text.length; ) {
    const space = text.indexOf(' ', at);
    const digits = space < 0 ? '' : text.slice(at, space);
    const end = at + Number(digits);
    const equals = text.indexOf('=', space);
    if (
      !/^[1-9][0-9]{0,6}$/.test(digits) ||
      equals < 0 ||
      equals >= end ||
      end > text.length ||
      text[end - 1] !== '\n'
    ) {
      throw new FormatError('FORMAT_TAR', 'a damaged pax header');
    }
    const [key, value] = [text.slice(space + 1, equals), text.slice(equals + 1, end - 1)];
    if (value.includes('\0') && (key === 'path' || key === 'linkpath'))
      throw new FormatError('FORMAT_TAR', 'a NUL in a pax path');
    records.set(key, value);
    at = end;
  }
  return records;
}
