/** Decides how many file bytes of one upload are on their way to the mirror, and lends the memory that they are read into. */
import { abortable } from '../system/abortable.ts';
import { createWriteBlock, type WriteBlock } from '../system/ssh-sftp-wire.ts';

/** File bytes that were read and are not yet confirmed: no server's window may make them more. */
const maxBytes = 4 * 1024 * 1024;

/** A block that is taken and then not sent, because its file could not be read, is not given back: the upload ends then. */
export class BlockPool {
  readonly #fullLength: number;
  readonly #spare: WriteBlock[] = [];
  #free = maxBytes;
  /** The first file's first. */
  #waiting: { readonly file: number; readonly length: number; readonly go: () => void }[] = [];

  constructor(fullLength: number) {
    this.#fullLength = fullLength;
  }

  /**
   * A block for the next of `left` bytes of a file, as soon as there is room. Files with a low number come first, so that the mirror
   * syncs one while the next is on its way, and not all of them at the end.
   */
  async take(file: number, left: number, signal: AbortSignal): Promise<WriteBlock> {
    const length = Math.min(left, this.#fullLength);
    if (this.#waiting.length > 0 || this.#free < length) {
      await abortable(new Promise<void>((go) => this.#wait({ file, length, go })), signal);
    } else {
      this.#free -= length;
    }
    const spare = length === this.#fullLength ? this.#spare.pop() : undefined;
    return spare ?? createWriteBlock(length);
  }

  #wait(one: { readonly file: number; readonly length: number; readonly go: () => void }): void {
    const behind = this.#waiting.findIndex(({ file }) => file > one.file);
    this.#waiting.splice(behind < 0 ? this.#waiting.length : behind, 0, one);
  }

  /** Takes the memory of a block back: its data has left. */
  give(block: WriteBlock): void {
    if (block.data.length === this.#fullLength) this.#spare.push(block);
  }

  /** So many bytes are confirmed, or lost. */
  settle(length: number): void {
    this.#free += length;
    for (let first = this.#waiting[0]; first && first.length <= this.#free; first = this.#waiting[0]) {
      this.#free -= first.length;
      this.#waiting.shift();
      first.go();
    }
  }
}
