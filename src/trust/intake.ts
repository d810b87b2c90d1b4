/** Reads a descriptor once, from its start to its size: every chunk is hashed, copied to the destination if there is one, and given out. */
import { createHash, type Hash } from 'node:crypto';
import { fstatSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { type IntakeFiles, patientFiles, quickFiles } from './intake-files.ts';
import type { SideHash } from './side-hash.ts';

export const chunkBytes = 512 * 1024;
export const chunkSlots = 4;

/** What of a file's identity must be the same before and after reading it. */
export interface SourceState {
  readonly isFile: boolean;
  readonly size: number;
  readonly mtimeSeconds: number;
  readonly fingerprint: string;
  /** Another one: its attributes were changed, or a hard link to it was made or removed. */
  readonly ctimeNs: bigint;
}

export function stateOf(fd: number): SourceState {
  const stats = fstatSync(fd, { bigint: true });
  return {
    isFile: stats.isFile(),
    size: Number(stats.size),
    mtimeSeconds: Number(stats.mtimeNs / 1_000_000_000n),
    fingerprint: [stats.dev, stats.ino, stats.size, stats.mtimeNs].join(' '),
    ctimeNs: stats.ctimeNs,
  };
}

export interface IntakeOptions {
  readonly sourceFd: number;
  readonly size: number;
  /** Where the copy goes; it must not exist. */
  readonly destination: string | undefined;
  /** Memory for `chunkSlots` chunks, used again and again. */
  readonly slots: Buffer;
  /** Hashes on another thread; without it the file is hashed on this one. */
  readonly hasher: SideHash | undefined;
  /** Throws once the work is no longer wanted. */
  readonly checkWanted: () => void;
}

/** One pass over a file. After it: `sha256`, then `keep` or `discard` for the copy. */
export class Intake {
  readonly #options: IntakeOptions;
  readonly #hash: Hash | undefined;
  readonly #busy: Promise<unknown>[] = [];
  readonly #files: IntakeFiles;
  /** Descriptor of the copy. */
  #copy: number | undefined;
  #position = 0;

  private constructor(options: IntakeOptions, files: IntakeFiles, copy: number | undefined) {
    this.#options = options;
    this.#files = files;
    this.#copy = copy;
    this.#hash = options.hasher === undefined ? createHash('sha256') : undefined;
  }

  /** Creates the destination (mode 0600 while it is written). */
  static async begin(options: IntakeOptions): Promise<Intake> {
    const files = options.size <= chunkBytes ? quickFiles : patientFiles;
    const copy = options.destination === undefined ? undefined : await files.create(options.destination);
    return new Intake(options, files, copy);
  }

  get copies(): boolean {
    return this.#copy !== undefined;
  }

  /** Bytes given out so far; less than the size at the end when the file became shorter. */
  get position(): number {
    return this.#position;
  }

  /**
   * The chunks in order; each stays as it is until the next one is asked for. While the caller looks at one, the next is read
   * and the ones before are written.
   */
  async *chunks(): AsyncGenerator<Buffer, void, undefined> {
    let slot = 0;
    let next = this.#startRead(slot, 0);
    try {
      for (;;) {
        const chunk = await next;
        if (chunk.length === 0) return;
        this.#options.checkWanted();
        const at = this.#position;
        this.#position += chunk.length;
        this.#busy[slot] = this.#use(slot, chunk, at);
        slot = (slot + 1) % chunkSlots;
        await this.#busy[slot];
        next = this.#startRead(slot, this.#position);
        yield chunk;
      }
    } finally {
      // No read may be under way on the caller's descriptor once this has ended.
      await Promise.allSettled([next, ...this.#busy]);
    }
  }

  /** Hex SHA-256 of what was read. */
  async sha256(): Promise<string> {
    await Promise.all(this.#busy);
    return this.#hash?.digest('hex') ?? (await this.#options.hasher?.digest()) ?? '';
  }

  /** Waits for what is being written. */
  async settle(): Promise<void> {
    await Promise.all(this.#busy);
  }

  /** Gives the copy its final mode and time. To sync it is left to who asked: the thread goes on with the next file meanwhile. */
  async keep(mtimeSeconds: number): Promise<void> {
    await this.settle();
    if (this.#copy !== undefined) await this.#files.setModeAndTime(this.#copy, 0o644, mtimeSeconds);
    await this.close();
  }

  /** Closes the copy as it is. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#busy);
    const copy = this.#copy;
    this.#copy = undefined;
    if (copy !== undefined) await this.#files.close(copy);
  }

  /** Removes the copy. */
  async discard(): Promise<void> {
    const { destination } = this.#options;
    await this.close();
    if (destination !== undefined) await rm(destination, { force: true });
  }

  #startRead(slot: number, position: number): Promise<Buffer> {
    const reading = this.#read(slot, position);
    // Looked at when the chunk is wanted; until then a failure must not count as unhandled.
    reading.catch(() => {});
    return reading;
  }

  async #read(slot: number, position: number): Promise<Buffer> {
    const { slots, sourceFd, size } = this.#options;
    const start = slot * chunkBytes;
    const length = Math.min(chunkBytes, size - position);
    if (length === 0) return slots.subarray(0, 0);
    const bytesRead = await this.#files.read(sourceFd, slots, start, length, position);
    return slots.subarray(start, start + bytesRead);
  }

  /** Settles when nothing needs the slot any more. */
  #use(slot: number, chunk: Buffer, at: number): Promise<unknown> {
    this.#hash?.update(chunk);
    const hashed = this.#options.hasher?.update(slot * chunkBytes, chunk.length) ?? Promise.resolve();
    const all = Promise.all([this.#write(chunk, at), hashed]);
    // Looked at when the slot is needed again, or at the end.
    all.catch(() => {});
    return all;
  }

  async #write(chunk: Buffer, at: number): Promise<void> {
    for (let written = 0; this.#copy !== undefined && written < chunk.length; ) {
      written += await this.#files.write(this.#copy, chunk, written, chunk.length - written, at + written);
    }
  }
}
