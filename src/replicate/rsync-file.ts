/** Sends one file to an rsync at the other side: what it has of it already by number, the rest as it is. */
import { createHash, type Hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { noSums, pieceLength, type Sums, sumHead, tokensOf } from './rsync-blocks.ts';
import type { RsyncOutput } from './rsync-output.ts';
import type { Piece, Pieces } from './rsync-literals.ts';
import { int32 } from './rsync-wire.ts';
import { openSource, type QuickReads, readSource } from './source.ts';
import type { PushFile } from './transport.ts';

/** A file up to this size goes out in one piece; longer ones in pieces of about this size. */
const pieceBytes = 256 * 1024;

/** A file of ours, opened: its whole content where it is small and at hand. */
export type Source = { readonly whole: Buffer } | { readonly handle: FileHandle };

/** Throws TransportError `vanished` for a file that is not as planned. */
export async function openToSend(sourceRoot: string, file: PushFile, quick: QuickReads): Promise<Source> {
  if (file.size <= pieceBytes) {
    const whole = Buffer.allocUnsafe(file.size);
    if (quick.read(sourceRoot, file, whole)) return { whole };
  }
  return { handle: await openSource(sourceRoot, file) };
}

export interface FileSend {
  readonly file: PushFile;
  readonly source: Source;
  /** What stands before the content: the number of the file and its attributes. */
  readonly head: Buffer;
  readonly sums: Sums;
  readonly seed: number;
  /** Whether the other side holds the whole content against a sum of ours. */
  readonly hashed: boolean;
  /** Memory for what is long. */
  readonly pieces: Pieces;
  readonly output: RsyncOutput;
  /** Resolves when so many bytes may go out. */
  readonly pace: (bytes: number) => Promise<void>;
  /** Told of bytes of the file that have gone out. */
  readonly onBytes: (bytes: number) => void;
}

/** Closes the source. Throws what `output` or `pace` throws, TransportError `vanished` for a file that becomes shorter. */
export async function sendFile(send: FileSend): Promise<void> {
  const { source } = send;
  if ('whole' in source) return new FileSender(send).sendSmall(source.whole);
  try {
    const sender = new FileSender(send);
    await sender.sendLong(source.handle);
  } finally {
    // Waits for a read that goes on.
    await source.handle.close();
  }
}

class FileSender {
  readonly #send: FileSend;
  /** Of what is not hashed no block may be taken from what lies there. */
  readonly #sums: Sums;
  /** `none` of rsync's sums is a zero byte. */
  readonly #hash: Hash | null;

  constructor(send: FileSend) {
    this.#send = send;
    this.#sums = send.hashed ? send.sums : noSums;
    this.#hash = send.hashed ? createHash('md5') : null;
  }

  async sendSmall(whole: Buffer): Promise<void> {
    const { output, onBytes } = this.#send;
    const { parts, bytes } = await this.#tokens(whole, 0);
    await output.writeData(...this.#head(), ...parts, ...this.#end());
    onBytes(bytes);
  }

  sendLong(handle: FileHandle): Promise<void> {
    return this.#sums.head.count === 0 ? this.#sendAll(handle) : this.#sendChanged(handle);
  }

  /** The other side has nothing of it. */
  async #sendAll(handle: FileHandle): Promise<void> {
    const { file, output, pieces } = this.#send;
    await output.writeData(...this.#head());
    let piece = await pieces.read(handle, file, 0);
    for (let at = 0; piece; ) {
      at += piece.bytes;
      const [next] = await Promise.all([pieces.read(handle, file, at), this.#sendPiece(piece)]);
      piece = next;
    }
    await output.writeData(...this.#end());
  }

  /** What it has is said by number. */
  async #sendChanged(handle: FileHandle): Promise<void> {
    const { file, output, onBytes } = this.#send;
    await output.writeData(...this.#head());
    const step = pieceLength(this.#sums.head, pieceBytes);
    for (let at = 0; at < file.size; at += step) {
      const piece = Buffer.allocUnsafe(Math.min(step, file.size - at));
      await readSource(handle, piece, at, file);
      const { parts, bytes } = await this.#tokens(piece, at);
      await output.writeData(...parts);
      onBytes(bytes);
    }
    await output.writeData(...this.#end());
  }

  async #sendPiece({ frame, content, bytes }: Piece): Promise<void> {
    const { onBytes, output, pace } = this.#send;
    for (const part of content) this.#hash?.update(part);
    await pace(bytes);
    await output.writeReused(frame);
    onBytes(bytes);
  }

  async #tokens(piece: Buffer, offset: number): Promise<{ parts: Buffer[]; bytes: number }> {
    const { seed, pace } = this.#send;
    this.#hash?.update(piece);
    const parts = tokensOf(this.#sums, seed, piece, offset);
    const bytes = parts.reduce((sum, part) => sum + part.length, 0);
    await pace(bytes);
    return { parts, bytes };
  }

  #head(): [Buffer, Buffer] {
    return [this.#send.head, sumHead(this.#sums.head)];
  }

  #end(): [Buffer, Buffer] {
    return [int32(0), this.#hash ? this.#hash.digest() : Buffer.alloc(1)];
  }
}
