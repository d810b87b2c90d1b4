/** The way out to a socket: many small writes leave in one system call, and memory that has left is free at once. It decides nothing about their content. */
import type { Socket } from 'node:net';

export type OutletSocket = Pick<Socket, 'cork' | 'uncork' | 'writableLength'>;

export class Outlet {
  readonly #socket: OutletSocket;
  #depth = 0;
  #lent: Buffer[] = [];

  constructor(socket: OutletSocket) {
    this.#socket = socket;
  }

  /** Runs `write`; what it writes to the socket leaves together, when the outermost call returns. */
  together(write: () => void): void {
    this.#socket.cork();
    this.#depth += 1;
    try {
      write();
    } finally {
      this.#depth -= 1;
      this.#socket.uncork();
      if (this.#depth === 0) this.#free();
    }
  }

  /** To be called within `together` for bytes that were written to the socket and that nobody else looks at: their memory is taken away. */
  spend(bytes: Buffer): void {
    this.#lent.push(bytes);
  }

  /**
   * The collector would come for it much later, and until then each packet would lie in memory that is new to the processor's
   * caches and to the kernel. Where the socket still has something to send, it is left to the collector all the same.
   */
  #free(): void {
    const lent = this.#lent;
    this.#lent = [];
    if (this.#socket.writableLength > 0) return;
    for (const { buffer, byteLength } of lent)
      if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
  }
}
