/** The stream to an rsync at the other side: frames, no faster than they are taken, and signs of life between them. */
import type { Duplex } from 'node:stream';
import type { Clock } from '../system/clock.ts';
import { frame, message, RunEnded, streamError } from './rsync-wire.ts';

export class RsyncOutput {
  readonly #stream: Duplex;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  #wroteAtMs: number;
  #failure: Error | null = null;
  #onFailure: (() => void) | null = null;

  /** The other side gives up when it hears nothing for `timeoutMs`. */
  constructor(stream: Duplex, clock: Clock, timeoutMs: number) {
    this.#stream = stream;
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    this.#wroteAtMs = clock.monotonic();
  }

  /** Resolves when more may be written. Throws RunEnded when the stream is closed, or what `fail` was told. */
  async write(parts: readonly Buffer[]): Promise<void> {
    this.#requireOpen();
    if (this.#stream.write(parts.length === 1 ? parts[0] : Buffer.concat(parts))) return;
    await this.#until((done) => this.#stream.once('drain', done));
  }

  /** Resolves when `bytes` are not needed any more. Throws as `write`. */
  async writeReused(bytes: Buffer): Promise<void> {
    this.#requireOpen();
    await this.#until((done) => this.#stream.write(bytes, done));
  }

  /** `parts` as one frame of data. */
  writeData(...parts: readonly Buffer[]): Promise<void> {
    return this.write(frame(message.data, parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts)));
  }

  /** Says nothing, once a quarter of the time has gone by in which the other side wants to hear something. */
  keepAlive(): void {
    if (this.#clock.monotonic() - this.#wroteAtMs < this.#timeoutMs / 4) return;
    this.#wroteAtMs = this.#clock.monotonic();
    if (!this.#stream.destroyed && !this.#stream.writableEnded)
      this.#stream.write(Buffer.concat(frame(message.data, Buffer.alloc(0))));
  }

  /** Whoever writes, now or later, gets this error. */
  fail(error: Error): void {
    this.#failure ??= error;
    this.#onFailure?.();
  }

  /** Throws what `fail` was told. */
  check(): void {
    if (this.#failure) throw this.#failure;
  }

  #requireOpen(): void {
    this.check();
    if (this.#stream.destroyed || this.#stream.writableEnded) throw new RunEnded(streamError, 'closed the channel');
    this.#wroteAtMs = this.#clock.monotonic();
  }

  /** Waits for what `begin` announces, for the end of the stream or for a failure, which it throws. */
  async #until(begin: (done: () => void) => void): Promise<void> {
    await new Promise<void>((resolve) => {
      const done = (): void => {
        this.#stream.off('drain', done).off('close', done);
        this.#onFailure = null;
        resolve();
      };
      this.#stream.on('close', done);
      this.#onFailure = done;
      begin(done);
    });
    this.check();
  }
}
