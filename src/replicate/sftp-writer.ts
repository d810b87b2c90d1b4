/** Reads a file of the tree and sends it to an open file of a mirror, as much at a time as may be on its way. */
import type { FileHandle } from 'node:fs/promises';
import type { Clock } from '../system/clock.ts';
import type { SftpSession } from '../system/ssh-sftp.ts';
import { BlockPool } from './block-pool.ts';
import type { Answers } from './sftp-answers.ts';
import { openSource, QuickReads, readSource } from './source.ts';
import type { Pace, PushFile } from './transport.ts';

interface WriterOptions {
  readonly session: Pick<SftpSession, 'maxWriteBytes'>;
  readonly sourceRoot: string;
  readonly clock: Clock;
  readonly onBytes: (bytes: number) => void;
  readonly pace?: Pace | undefined;
}

/** Where a file goes. */
export interface Target {
  readonly session: SftpSession;
  readonly handle: Buffer;
  /** Its place in the upload: those with a low number come first. */
  readonly number: number;
}

/** For all files of one upload. */
export class ContentWriter {
  readonly #options: WriterOptions;
  readonly #stop: AbortSignal;
  readonly #pool: BlockPool;
  readonly #quick: QuickReads;

  constructor(options: WriterOptions, stop: AbortSignal) {
    this.#options = options;
    this.#stop = stop;
    this.#pool = new BlockPool(options.session.maxWriteBytes);
    this.#quick = new QuickReads(options.clock);
  }

  /** Resolves when all of the file is sent; rejects, and sends no more, once stopped or once an answer among `answers` is known to be bad. */
  async write(file: PushFile, { session, handle, number }: Target, answers: Answers): Promise<void> {
    const { onBytes } = this.#options;
    const pool = this.#pool;
    const source: { handle?: FileHandle } = {};
    try {
      for (let offset = 0; offset === 0 || offset < file.size; ) {
        const length = await this.#room(number, file.size - offset);
        answers.throwIfFailed();
        const block = pool.take(length);
        const reading = this.#fill(block.data, offset, file, source);
        // Not awaited without need: others would take memory meanwhile, and this block leave the caches before it is sent.
        if (reading) await reading;
        // Nothing is sent any more: the handle may be one that was only foretold, and be another file's by now.
        this.#stop.throwIfAborted();
        answers.throwIfFailed();
        if (length === 0) {
          pool.give(block);
          break;
        }
        const written = session.write(handle, offset, block, () => pool.give(block)).then(() => onBytes(length));
        // Settled after a failure too: we may be waiting for room, and must come to see the failure.
        answers.add(written.finally(() => pool.settle(number, length)));
        offset += length;
      }
    } finally {
      await source.handle?.close();
    }
  }

  /** Waits until more of the file may go; resolves to how many bytes. */
  async #room(number: number, left: number): Promise<number> {
    const { pace, onBytes } = this.#options;
    const length = await this.#pool.reserve(number, left, this.#stop);
    const onWait = (): void => onBytes(0);
    await pace?.(length, { signal: this.#stop, onWait });
    return length;
  }

  /** Reads file bytes from `offset` on. Returns undefined when it is done, which small files are at once. */
  #fill(target: Buffer, offset: number, file: PushFile, source: { handle?: FileHandle }): Promise<void> | undefined {
    const isWhole = target.length === file.size;
    if (isWhole && this.#quick.read(this.#options.sourceRoot, file, target)) return undefined;
    return this.#fillLater(target, offset, file, source);
  }

  async #fillLater(target: Buffer, offset: number, file: PushFile, source: { handle?: FileHandle }): Promise<void> {
    source.handle ??= await openSource(this.#options.sourceRoot, file);
    await readSource(source.handle, target, offset, file);
  }
}
