/** What the generator of the rsync there asks for: reads its requests one by one, and keeps no more of them than our own files explain. */
import { type Listed } from './rsync-list.ts';
import { type SumHead, type Sums, sumsOfSame } from './rsync-blocks.ts';
import { int32, NdxReader, ndxDone, protocolError, RunEnded } from './rsync-wire.ts';

/** What the generator there says of a file: it is to be said again, with the content if that is wanted. */
export interface Request {
  /** Place in the list. */
  readonly ndx: number;
  /** The flags and what follows them. */
  readonly attributes: Buffer;
  /** Null: the content is not wanted. */
  readonly sums: Sums | null;
}

/** Of what a generator says of a file: its content is wanted; a byte, or a name, follows. ITEM_* of rsync.h. */
const itemTransfer = 0x8000;
const itemBasisFollows = 0x0800;
const itemNameFollows = 0x1000;
/** A name is no longer than MAXPATHLEN. */
const nameLimit = 4096;
/** BLOCK_SIZE and MAX_BLOCK_SIZE of rsync.h, which a generator keeps to when nobody asks for another size. */
const blockLengths = { least: 700, most: 1 << 17 };
/** A strong sum is an MD5, or its beginning. */
const longestStrong = 16;
const skipBytes = 64 * 1024;

type Read = (count: number) => Promise<Buffer>;

/** A request that the generator has not made, for a file that was sent before; a receiver takes what comes. */
export function onceMore(ndx: number, size: number): Request {
  return { ndx, attributes: int32(itemTransfer).subarray(0, 2), sums: sumsOfSame(size) };
}

export class RequestReader {
  readonly #read: Read;
  readonly #list: readonly Listed[];
  readonly #numbers = new NdxReader();

  constructor(list: readonly Listed[], read: Read) {
    this.#list = list;
    this.#read = read;
  }

  /** The next request, null for the end of a phase. Throws RunEnded for what makes no sense. */
  async next(): Promise<Request | null> {
    const ndx = await this.#numbers.next(this.#read);
    if (ndx === ndxDone) return null;
    const one = this.#list[ndx];
    if (!one) throw new RunEnded(protocolError, `asks for file ${ndx} of ${this.#list.length}`);
    const parts = [await this.#read(2)];
    const flags = (parts[0] as Buffer).readUInt16LE(0);
    if (flags & itemBasisFollows) parts.push(await this.#read(1));
    if (flags & itemNameFollows) parts.push(...(await this.#name()));
    const attributes = Buffer.concat(parts);
    if ((flags & itemTransfer) === 0) return { ndx, attributes, sums: null };
    if (!('path' in one)) throw new RunEnded(protocolError, `asks for directory ${ndx} as a file`);
    return { ndx, attributes, sums: await this.#sums(one.size) };
  }

  /** A length of one byte or two, and so many bytes. */
  async #name(): Promise<Buffer[]> {
    const head = await this.#read(1);
    const [first] = head as unknown as [number];
    if (first < 0x80) return [head, await this.#read(first)];
    const second = await this.#read(1);
    const length = (first & 0x7f) * 256 + (second as unknown as [number])[0];
    if (length > nameLimit) throw new RunEnded(protocolError, `says a name of ${length} bytes`);
    return [head, second, await this.#read(length)];
  }

  async #sums(size: number): Promise<Sums> {
    const head = readSumHead(await this.#read(16));
    const entry = 4 + head.strongLength;
    // The file there may be longer than ours: what lies beyond is of no use.
    const useful = head.count === 0 ? 0 : Math.min(head.count, Math.ceil(size / head.blockLength));
    const blocks = Buffer.alloc(useful * entry);
    for (let at = 0; at < blocks.length; ) {
      const part = await this.#read(Math.min(skipBytes, blocks.length - at));
      at += part.copy(blocks, at);
    }
    for (let left = (head.count - useful) * entry; left > 0; left -= Math.min(skipBytes, left)) {
      await this.#read(Math.min(skipBytes, left));
    }
    return { head, blocks };
  }
}

function readSumHead(bytes: Buffer): SumHead {
  const [count, blockLength, strongLength, lastLength] = [0, 4, 8, 12].map((at) => bytes.readInt32LE(at)) as Four;
  const isSound =
    count >= 0 &&
    strongLength >= 0 &&
    strongLength <= longestStrong &&
    (count === 0 || (blockLength >= blockLengths.least && blockLength <= blockLengths.most)) &&
    lastLength >= 0 &&
    lastLength <= Math.max(0, blockLength);
  if (!isSound) {
    const what = `${count} blocks of ${blockLength} bytes, the last one of ${lastLength}, and sums of ${strongLength}`;
    throw new RunEnded(protocolError, `knows a file by ${what}`);
  }
  return { count, blockLength, strongLength, lastLength };
}
type Four = [number, number, number, number];
