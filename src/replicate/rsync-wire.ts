/** The bytes of rsync's protocol, versions 30 and 31, as far as a sender of regular files needs them. */

/** The version that we speak at the most. */
export const protocolVersion = 31;
/** Older ones are of before 2008 and have other numbers and frames. */
export const oldestProtocol = 30;

/** Kinds of frames: MSG_* of rsync.h. */
export const message = {
  data: 0,
  errorXfer: 1,
  info: 2,
  error: 3,
  warning: 4,
  errorSocket: 5,
  log: 6,
  errorUtf8: 8,
  ioError: 22,
  ioTimeout: 33,
  noop: 42,
  errorExit: 86,
  success: 100,
  deleted: 101,
  noSend: 102,
} as const;

/** Of what a generator says of a file: its content is wanted; a byte, or a name, follows. */
export const itemTransfer = 0x8000;
export const itemBasisFollows = 0x0800;
export const itemNameFollows = 0x1000;

/** Stands for a number of a file: the end of a phase. */
export const ndxDone = -1;

/** A number of 32 bits, little endian. */
export function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value | 0);
  return bytes;
}

/** One frame: a kind, a length of 24 bits, the payload. */
export function frame(kind: number, payload: Buffer): Buffer[] {
  const head = Buffer.alloc(4);
  head.writeUInt32LE((((kind + 7) << 24) | payload.length) >>> 0);
  return payload.length === 0 ? [head] : [head, payload];
}

/**
 * A number of up to 63 bits in at least `least` bytes: the leading ones of the first byte count the bytes that come beyond
 * those, and what it has left over is the highest part.
 */
export function varlong(value: number, least: number): Buffer {
  const bytes: number[] = [];
  for (let left = BigInt(value); left > 0n; left >>= 8n) bytes.push(Number(left & 0xffn));
  while (bytes.length < least) bytes.push(0);
  const high = bytes.at(-1) as number;
  const beyond = bytes.length - least;
  const room = 1 << (7 - beyond);
  const marks = (count: number): number => (0xff00 >> count) & 0xff;
  if (high >= room) return Buffer.from([marks(beyond + 1), ...bytes]);
  return Buffer.from([marks(beyond) | high, ...bytes.slice(0, -1)]);
}

/** How many bytes follow the first one of a number of variable length. */
export function varintExtra(first: number): number {
  return Math.clz32(~(first << 24));
}

/** The number whose first byte is followed by `rest`, see `varlong`. */
export function varint(first: number, rest: Buffer): number {
  const high = first & ((1 << (7 - rest.length)) - 1);
  return rest.toReversed().reduce((sum, byte) => sum * 256 + byte, rest.length < 8 ? high : 0);
}

/** Numbers of files are said as their distance from the one before. */
export class NdxWriter {
  #before = -1;

  bytes(ndx: number): Buffer {
    if (ndx === ndxDone) return Buffer.from([0]);
    const step = ndx - this.#before;
    this.#before = ndx;
    if (step > 0 && step < 0xfe) return Buffer.from([step]);
    if (step > 0 && step <= 0x7fff) return Buffer.from([0xfe, step >> 8, step & 0xff]);
    return Buffer.from([0xfe, ((ndx >>> 24) & 0x7f) | 0x80, ndx & 0xff, (ndx >> 8) & 0xff, (ndx >> 16) & 0xff]);
  }
}

/** Reads what an `NdxWriter` says, through a reader of so many bytes. */
export class NdxReader {
  #before = -1;

  async next(read: (count: number) => Promise<Buffer>): Promise<number> {
    const [first] = (await read(1)) as unknown as [number];
    if (first === 0) return ndxDone;
    // Negative numbers other than the end are for lists that come in parts, which nobody asks for here.
    if (first === 0xff) throw new RangeError('a number of a file list that was not agreed on');
    if (first !== 0xfe) return (this.#before += first);
    const [high, low] = (await read(2)) as unknown as [number, number];
    if ((high & 0x80) === 0) return (this.#before += (high << 8) | low);
    const [second, third] = (await read(2)) as unknown as [number, number];
    return (this.#before = ((high & 0x7f) << 24) | low | (second << 8) | (third << 16));
  }
}

export interface ListedFile {
  readonly path: string;
  readonly size: number;
  readonly mtimeSeconds: number;
}

/** Directories of the files: only so that the other side finds them; it leaves those that it has as they are. */
export interface ListedDirectory {
  readonly directory: string;
}

export type Listed = ListedFile | ListedDirectory;

const modes = { file: 0o100644, directory: 0o040755 };
const topDirectory = 0x01;
const sameMode = 0x02;
const extendedFlags = 0x04;
const longName = 0x40;
const sameTime = 0x80;
const noContent = 0x0100;

/**
 * What is to be said of `files`, in the order in which both sides number it since version 29 of the protocol: bytewise,
 * directories as if they ended with a slash, and in each directory its files before what lies deeper.
 */
export function listOf<T extends ListedFile>(files: readonly T[]): (T | ListedDirectory)[] {
  const directories = new Set(files.flatMap(({ path }) => ancestorsOf(path)));
  const keyed = [
    ...[...directories].map((directory) => ({ one: { directory }, within: `${directory}/`, name: '' })),
    ...files.map((one) => {
      const cut = one.path.lastIndexOf('/') + 1;
      return { one, within: one.path.slice(0, cut), name: one.path.slice(cut) };
    }),
  ].map(({ one, within, name }) => ({ one, within: Buffer.from(within), name: Buffer.from(name) }));
  keyed.sort((a, b) => {
    const shared = Math.min(a.within.length, b.within.length);
    const order = a.within.compare(b.within, 0, shared, 0, shared);
    return order || a.within.length - b.within.length || a.name.compare(b.name);
  });
  return keyed.map(({ one }) => one);
}

/** A file list: each name whole, with size, time and mode. */
export function fileList(list: readonly Listed[]): Buffer {
  const parts: Buffer[] = [];
  let before = { mode: 0, mtimeSeconds: -1 };
  for (const one of list) {
    const isFile = 'path' in one;
    const name = Buffer.from(isFile ? one.path : one.directory);
    const { size, mtimeSeconds } = isFile ? one : { size: 0, mtimeSeconds: 0 };
    const mode = isFile ? modes.file : modes.directory;
    let flags = isFile ? 0 : topDirectory | noContent;
    if (name.length > 255) flags |= longName;
    if (mode === before.mode) flags |= sameMode;
    if (mtimeSeconds === before.mtimeSeconds) flags |= sameTime;
    // A zero would end the list.
    if (flags === 0 || flags > 0xff) parts.push(Buffer.from([flags | extendedFlags, flags >> 8]));
    else parts.push(Buffer.from([flags]));
    parts.push(name.length > 255 ? varlong(name.length, 1) : Buffer.from([name.length]), name, varlong(size, 3));
    if ((flags & sameTime) === 0) parts.push(varlong(mtimeSeconds, 4));
    if ((flags & sameMode) === 0) parts.push(int32(mode));
    before = { mode, mtimeSeconds };
  }
  return Buffer.concat([...parts, Buffer.from([0])]);
}

function ancestorsOf(path: string): string[] {
  const found: string[] = [];
  for (let cut = path.lastIndexOf('/'); cut > 0; cut = path.lastIndexOf('/', cut - 1)) found.push(path.slice(0, cut));
  return found;
}

/** What a generator says of the blocks of the file that it has: how many, how long, how much of each strong sum, the last one's length. */
export interface SumHead {
  readonly count: number;
  readonly blockLength: number;
  readonly strongLength: number;
  readonly lastLength: number;
}

export function sumHead({ count, blockLength, strongLength, lastLength }: SumHead): Buffer {
  return Buffer.concat([count, blockLength, strongLength, lastLength].map(int32));
}

/** The weak sum of a block: two sums of its bytes, taken as signed. */
export function weakSum(block: Uint8Array): number {
  let [plain, weighted] = [0, 0];
  for (const byte of block) {
    plain = (plain + ((byte << 24) >> 24)) | 0;
    weighted = (weighted + plain) | 0;
  }
  return ((plain & 0xffff) | (weighted << 16)) >>> 0;
}
