/** The stream of an rsync at the other side: numbers as they stand at first, then frames of data and of messages. */
import type { Readable } from 'node:stream';
import { message, RunEnded, streamError } from './rsync-wire.ts';

export interface FrameListener {
  /** A frame that is no data. */
  message(kind: number, payload: Buffer): void;
  /** Bytes have come, whatever they are. */
  alive(): void;
}

/** Longer messages say nothing that a person would read. */
const messageLimit = 64 * 1024;
const kinds = new Set<number>(Object.values(message));

/** Holds what nobody has read yet: one who reads on always keeps that small. */
export class FrameReader {
  readonly #listener: FrameListener;
  #framed = false;
  /** Of the frame in hand. */
  #kind: number = message.data;
  #left = 0;
  #head: Buffer = Buffer.alloc(0);
  #text: Buffer[] = [];
  #textLength = 0;
  /** Data that nobody has read yet. */
  #chunks: Buffer[] = [];
  #held = 0;
  #wanted = 0;
  #wake: (() => void) | null = null;
  #ended = false;
  #failure: Error | null = null;

  constructor(stream: Readable, listener: FrameListener) {
    this.#listener = listener;
    stream.on('data', (chunk: Buffer) => {
      listener.alive();
      this.#take(chunk);
    });
    const end = (): void => {
      this.#ended = true;
      this.#wake?.();
    };
    stream.once('end', end).once('close', end).once('error', end);
  }

  /** From the next byte on everything comes in frames. */
  startFrames(): void {
    this.#framed = true;
    const rest = this.#chunks;
    [this.#chunks, this.#held] = [[], 0];
    for (const chunk of rest) this.#parse(chunk);
  }

  /** The next `count` bytes of data. Throws RunEnded at the end of the stream, or what `fail` was told. */
  async read(count: number): Promise<Buffer> {
    while (this.#held < count) {
      if (this.#failure) throw this.#failure;
      if (this.#ended) throw new RunEnded(streamError, 'ended early');
      this.#wanted = count;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = null;
    }
    return this.#pull(count);
  }

  /** Whoever reads, now or later, gets this error; what comes is thrown away. */
  fail(error: Error): void {
    this.#failure ??= error;
    this.#wanted = 0;
    this.#held = 0;
    this.#chunks = [];
    this.#wake?.();
  }

  #pull(count: number): Buffer {
    this.#held -= count;
    const [first] = this.#chunks;
    if (first && first.length > count) {
      this.#chunks[0] = first.subarray(count);
      return first.subarray(0, count);
    }
    const parts: Buffer[] = [];
    for (let left = count; left > 0; ) {
      const chunk = this.#chunks[0] as Buffer;
      parts.push(chunk.subarray(0, left));
      if (chunk.length > left) this.#chunks[0] = chunk.subarray(left);
      else this.#chunks.shift();
      left -= Math.min(left, chunk.length);
    }
    return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
  }

  #take(chunk: Buffer): void {
    if (this.#failure) return;
    if (this.#framed) this.#parse(chunk);
    else this.#push(chunk);
  }

  #push(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#held += chunk.length;
    if (this.#held >= this.#wanted) this.#wake?.();
  }

  #parse(chunk: Buffer): void {
    for (let at = 0; at < chunk.length && !this.#failure; ) {
      if (this.#left === 0) {
        const head = chunk.subarray(at, at + 4 - this.#head.length);
        this.#head = this.#head.length === 0 ? head : Buffer.concat([this.#head, head]);
        at += head.length;
        if (this.#head.length < 4) return;
        const value = this.#head.readUInt32LE(0);
        this.#head = Buffer.alloc(0);
        [this.#kind, this.#left] = [(value >>> 24) - 7, value & 0xffffff];
        if (!kinds.has(this.#kind)) {
          this.fail(new RunEnded(streamError, `sends what is no message (${this.#kind})`));
          return;
        }
        if (this.#left === 0) this.#endFrame();
        continue;
      }
      const part = chunk.subarray(at, at + this.#left);
      at += part.length;
      this.#left -= part.length;
      if (this.#kind === message.data) this.#push(part);
      else {
        if (this.#textLength < messageLimit) this.#text.push(part);
        this.#textLength += part.length;
        if (this.#left === 0) this.#endFrame();
      }
    }
  }

  #endFrame(): void {
    if (this.#kind === message.data) return;
    const text = Buffer.concat(this.#text);
    [this.#text, this.#textLength] = [[], 0];
    this.#listener.message(this.#kind, text);
  }
}
