/** The bytes of rsync's protocol, versions 30 and 31, as far as a sender of regular files needs them. */

/** The run cannot go on; `code` is what an rsync of ours would end with. */
export class RunEnded extends Error {
  override readonly name = 'RunEnded';
  readonly code: number;

  constructor(code: number, what: string) {
    super(`the rsync there ${what}`);
    this.code = code;
  }
}

/** RERR_PROTOCOL and RERR_STREAMIO of rsync's errcode.h. */
export const protocolError = 2;
export const streamError = 12;

/** The version that we speak at the most. */
export const protocolVersion = 31;
/** Older ones are of before 2008 and have other numbers and frames. */
export const oldestProtocol = 30;
/** What says that it is newer than this is no rsync. */
export const newestProtocol = 40;

/** Kinds of frames: MSG_* of rsync.h. */
export const message = {
  data: 0,
  errorXfer: 1,
  info: 2,
  error: 3,
  warning: 4,
  errorSocket: 5,
  log: 6,
  client: 7,
  errorUtf8: 8,
  redo: 9,
  stats: 10,
  ioError: 22,
  ioTimeout: 33,
  noop: 42,
  errorExit: 86,
  success: 100,
  deleted: 101,
  noSend: 102,
} as const;

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

/** Reads what an `NdxWriter` says, through a reader of so many bytes. Throws RunEnded for a number that none may say to a sender. */
export class NdxReader {
  #before = -1;

  async next(read: (count: number) => Promise<Buffer>): Promise<number> {
    const [first] = (await read(1)) as unknown as [number];
    if (first === 0) return ndxDone;
    // Negative numbers other than the end are for lists that come in parts, which nobody asks for here.
    if (first === 0xff) throw new RunEnded(protocolError, 'names a file by a number that was not agreed on');
    if (first !== 0xfe) return (this.#before += first);
    const [high, low] = (await read(2)) as unknown as [number, number];
    if ((high & 0x80) === 0) return (this.#before += (high << 8) | low);
    const [second, third] = (await read(2)) as unknown as [number, number];
    return (this.#before = ((high & 0x7f) << 24) | low | (second << 8) | (third << 16));
  }
}
