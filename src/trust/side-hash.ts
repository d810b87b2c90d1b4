/** Hashes whole files on a thread beside the worker, so that the two digests of a big package take the time of one. */
import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { SideHashMessage } from './side-hash-worker.ts';

export class SideHash {
  readonly #worker: Worker;
  readonly #waiting: { resolve: (digest: string) => void; reject: (error: unknown) => void }[] = [];
  #failure: Error | undefined;

  /** `memory` is where the chunks will lie. */
  constructor(memory: SharedArrayBuffer) {
    this.#worker = new Worker(new URL(`./side-hash-worker${extname(import.meta.url)}`, import.meta.url), {
      workerData: memory,
      resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 2 },
    });
    this.#worker.on('message', (digest: string) => this.#waiting.shift()?.resolve(digest));
    this.#worker.on('error', (error) => {
      this.#failure = new Error(`the hashing thread failed: ${String(error)}`, { cause: error });
    });
    this.#worker.on('exit', () => {
      this.#failure ??= new Error('the hashing thread ended');
      for (const { reject } of this.#waiting.splice(0)) reject(this.#failure);
    });
  }

  /** True once the thread has ended; make another then. */
  get failed(): boolean {
    return this.#failure !== undefined;
  }

  /** Forgets what was hashed so far. */
  begin(): void {
    this.#send('begin').catch(() => {});
  }

  /** Resolves when the bytes of the memory have been hashed and may be overwritten. */
  async update(offset: number, length: number): Promise<void> {
    await this.#send({ offset, length });
  }

  /** Hex SHA-256 of everything since `begin`. */
  async digest(): Promise<string> {
    return this.#send('digest');
  }

  #send(message: SideHashMessage): Promise<string> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
      this.#worker.postMessage(message);
    });
  }
}
