/** Which blocks of a file are there already, and what of it must be sent. */
import { createHash } from 'node:crypto';
import { literalBytes } from './rsync-literals.ts';
import { int32 } from './rsync-wire.ts';

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

/** The blocks of the file there, as far as ours reaches: for each its weak sum and `strongLength` bytes of its strong one. */
export interface Sums {
  readonly head: SumHead;
  /** Null: all of them are ours. */
  readonly blocks: Buffer | null;
}

/** Of a file of which nothing is to be used that lies there. */
export const noSums: Sums = {
  head: { count: 0, blockLength: 0, strongLength: 0, lastLength: 0 },
  blocks: Buffer.alloc(0),
};

/** Of a file that lies there as it is here, in the longest blocks that rsync knows (MAX_BLOCK_SIZE of rsync.h). */
export function sumsOfSame(size: number): Sums {
  const blockLength = 1 << 17;
  const head = { count: Math.ceil(size / blockLength), blockLength, strongLength: 16, lastLength: size % blockLength };
  return { head, blocks: null };
}

/** The length of the pieces, at most `most`, in which a file is to be looked at, so that they end where blocks do. */
export function pieceLength({ blockLength }: SumHead, most: number): number {
  return blockLength === 0 ? most : Math.max(1, Math.floor(most / blockLength)) * blockLength;
}

/**
 * The piece of the file that begins at `offset` as blocks that are there at the same place, each by its number, and the bytes of
 * the rest. A server without CHKSUM_SEED_FIX (before 3.1) hashes its seed last: there nothing is found, and all is sent.
 */
export function tokensOf({ head, blocks }: Sums, seed: number, piece: Buffer, offset: number): Buffer[] {
  const parts: Buffer[] = [];
  let from = 0;
  const flush = (to: number): void => {
    for (; from < to; from = Math.min(to, from + literalBytes)) {
      const literal = piece.subarray(from, Math.min(to, from + literalBytes));
      parts.push(int32(literal.length), literal);
    }
  };
  const entry = 4 + head.strongLength;
  for (let at = 0; at < piece.length && head.count > 0; at += head.blockLength) {
    const n = (offset + at) / head.blockLength;
    const sum = blocks?.subarray(n * entry, (n + 1) * entry);
    if (sum?.length === 0) break;
    const block = piece.subarray(at, at + head.blockLength);
    const isLast = n === head.count - 1 && head.lastLength !== 0;
    if (block.length !== (isLast ? head.lastLength : head.blockLength) || (sum && !isSame(block, sum, seed))) continue;
    flush(at);
    parts.push(int32(-(n + 1)));
    from = at + block.length;
  }
  flush(piece.length);
  return parts;
}

function isSame(block: Buffer, sum: Buffer, seed: number): boolean {
  if (weakSum(block) !== sum.readUInt32LE(0)) return false;
  const strong = createHash('md5');
  if (seed !== 0) strong.update(int32(seed));
  return strong
    .update(block)
    .digest()
    .subarray(0, sum.length - 4)
    .equals(sum.subarray(4));
}

/** The weak sum of a block: two sums of its bytes, taken as signed. */
function weakSum(block: Uint8Array): number {
  let [plain, weighted] = [0, 0];
  for (const byte of block) {
    plain = (plain + ((byte << 24) >> 24)) | 0;
    weighted = (weighted + plain) | 0;
  }
  return ((plain & 0xffff) | (weighted << 16)) >>> 0;
}
