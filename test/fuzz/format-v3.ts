/** What the fuzzer must know of v3 files, written anew with zlib alone: it judges the parsers of src/apk and may not share their mistakes. */
import { deflateRawSync, inflateRawSync, type InflateRaw, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import type { AdbCompression } from '../../src/apk/make-adb.ts';
import type { Format } from './format-v2.ts';

const headBytes = 8;
const adb = 0;
const sig = 1;
const data = 2;
const extended = 3;

interface Block {
  readonly type: number;
  readonly payload: Buffer;
  /** With its header, without padding. */
  readonly raw: Buffer;
}

/**
 * Files compressed like this. Their parts are the eight bytes of magic and schema, then each block with its header, whose
 * size `pack` corrects. `alone`: nothing but its signature vouches for a file, so one of those that it came with must be there.
 */
export function formatV3(compression: AdbCompression, { alone }: { readonly alone: boolean }): Format {
  return {
    unpack: (file) => {
      const plain = plainOf(file);
      return [plain.subarray(0, headBytes), ...blocksOf(plain).map(({ raw }) => raw)];
    },
    pack: ([head = Buffer.alloc(0), ...blocks]) => pack(compression, [head, ...blocks.map(sized)]),
    isAuthentic: (file, original) => {
      const [mine, theirs] = [read(file), read(original)];
      if (mine === undefined || theirs === undefined || mine.head !== theirs.head) return false;
      const content = (blocks: readonly Block[]): Block[] => blocks.filter(({ type }) => type !== sig);
      const [found, wanted] = [content(mine.blocks), content(theirs.blocks)];
      const same = found.length === wanted.length && found.every((block, n) => isSame(block, wanted[n]));
      return same && (!alone || mine.blocks.some((block) => block.type === sig && includes(theirs.blocks, block)));
    },
  };
}

/** Where the size stands in a block that `pack` is given, whatever became of it. */
function sized(part: Buffer): Buffer {
  const raw = Buffer.alloc(Math.ceil(Math.max(part.length, 4) / 8) * 8);
  part.copy(raw);
  const length = Math.max(part.length, 4);
  if (raw.readUInt8(3) >>> 6 !== extended) raw.writeUInt32LE(((raw.readUInt32LE(0) & 0xc0000000) | length) >>> 0, 0);
  else if (raw.length >= 16) raw.writeUInt32LE(length, 8);
  return raw;
}

function pack(compression: AdbCompression, parts: readonly Buffer[]): Buffer {
  const plain = Buffer.concat(parts);
  const container = (algorithm: number, bytes: Buffer): Buffer =>
    Buffer.concat([Buffer.from('ADBc'), Buffer.from([algorithm, 1]), bytes]);
  switch (compression) {
    case 'plain':
      return plain;
    case 'deflate':
      return Buffer.concat([Buffer.from('ADBd'), deflateRawSync(plain, { level: 1 })]);
    case 'none':
      return container(0, plain);
    case 'container-deflate':
      return container(1, deflateRawSync(plain, { level: 1 }));
    case 'zstd':
      return container(2, zstdCompressSync(plain));
    default:
      return compression satisfies never;
  }
}

function read(file: Buffer): { readonly head: string; readonly blocks: readonly Block[] } | undefined {
  try {
    const plain = plainOf(file);
    return { head: plain.toString('latin1', 0, headBytes), blocks: blocksOf(plain) };
  } catch {
    return undefined;
  }
}

/** Throws for what has another container or is more than one stream. */
function plainOf(file: Buffer): Buffer {
  const magic = file.toString('latin1', 0, 4);
  if (magic === 'ADB.') return file;
  if (magic === 'ADBd') return inflate(file.subarray(4));
  if (magic !== 'ADBc') throw new Error(`magic ${magic}`);
  const rest = file.subarray(6);
  if (file[4] === 0) return rest;
  if (file[4] === 1) return inflate(rest);
  if (file[4] === 2) return zstdDecompressSync(rest);
  throw new Error(`algorithm ${file[4]}`);
}

function inflate(bytes: Buffer): Buffer {
  const { buffer, engine } = inflateRawSync(bytes, { info: true }) as unknown as { buffer: Buffer; engine: InflateRaw };
  if (engine.bytesWritten !== bytes.length) throw new Error('bytes after the stream');
  return buffer;
}

/** Throws for anything but one ADB block, then signatures, then data, up to the last byte. */
function blocksOf(plain: Buffer): Block[] {
  const blocks: Block[] = [];
  let last: number = adb;
  for (let at = headBytes; at < plain.length; ) {
    const word = plain.readUInt32LE(at);
    const long = word >>> 30 === extended;
    const size = long ? Number(plain.readBigUInt64LE(at + 8)) : word & 0x3fffffff;
    const type = long ? word & 0x3fffffff : word >>> 30;
    const header = long ? 16 : 4;
    const right = type <= data && type >= last && (type === adb) === (blocks.length === 0);
    if (!right || size < header || at + size > plain.length) throw new Error(`a wrong block at ${at}`);
    const raw = plain.subarray(at, at + size);
    blocks.push({ type, payload: raw.subarray(header), raw });
    last = type;
    at += Math.ceil(size / 8) * 8;
    if (at > plain.length) throw new Error('cut within padding');
  }
  return blocks;
}

function isSame(a: Block, b: Block | undefined): boolean {
  return b !== undefined && a.type === b.type && a.payload.equals(b.payload);
}

function includes(blocks: readonly Block[], block: Block): boolean {
  return blocks.some((other) => isSame(other, block));
}
