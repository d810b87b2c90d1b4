/** Decides how many file bytes of one upload are on their way to the mirror, and lends the memory that they are read into. */
import { abortable } from '../system/abortable.ts';
import { createWriteBlock, type WriteBlock, writeHead } from '../system/ssh-sftp-wire.ts';

/** File bytes that were read and are not yet confirmed: no server's window may make them more. */
const maxBytes = 4 * 1024 * 1024;
/** Of one file while others wait: what a session of OpenSSH lets be on its way (CHAN_SES_WINDOW_DEFAULT), so that a second session is in use. */
const fileBytes = 2 * 1024 * 1024;

/** Memory comes in multiples of this, so that files of about the same size use the same. */
const step = 64 * 1024;

interface Waiting {
  readonly file: number;
  readonly length: number;
  readonly go: () => void;
}

/** What is reserved and then not sent, because its file could not be read, is not given back: the upload ends then. */
export class BlockPool {
  readonly #fullLength: number;
  readonly #spare: Buffer[] = [];
  #free = maxBytes;
  /** The first file's first. */
  #waiting: Waiting[] = [];
  /** Of each file, what was taken and is not settled. */
  readonly #taken = new Map<number, number>();

  constructor(fullLength: number) {
    this.#fullLength = fullLength;
  }

  /**
   * Resolves to how many of the next `left` bytes of a file may go, as soon as there is room. Files with a low number come first, so
   * that the mirror syncs one while the next is on its way, and not all of them at the end; but none has everything while others wait.
   */
  async reserve(file: number, left: number, signal: AbortSignal): Promise<number> {
    const length = Math.min(left, this.#fullLength);
    if (this.#waiting.length > 0 || this.#free < length) {
      await abortable(new Promise<void>((go) => this.#wait({ file, length, go })), signal);
    } else {
      this.#count(file, length);
    }
    return length;
  }

  /** Memory for bytes that were reserved. Asked for at the last moment it is, as a rule, what was used just before, and still in the caches. */
  take(length: number): WriteBlock {
    const at = this.#spare.findLastIndex((memory) => memory.length >= writeHead + length);
    const [spare] = at < 0 ? [] : this.#spare.splice(at, 1);
    return createWriteBlock(length, spare ?? createWriteBlock(Math.min(roundUp(length), this.#fullLength)).memory);
  }

  #wait(one: Waiting): void {
    const behind = this.#waiting.findIndex(({ file }) => file > one.file);
    this.#waiting.splice(behind < 0 ? this.#waiting.length : behind, 0, one);
  }

  /** Takes the memory of a block back: its data has left. */
  give({ memory }: WriteBlock): void {
    const kept = this.#spare.reduce((sum, { length }) => sum + length, 0);
    if (kept + memory.length <= maxBytes) this.#spare.push(memory);
  }

  /** So many bytes of a file are confirmed, or lost. */
  settle(file: number, length: number): void {
    this.#count(file, -length);
    for (let next = this.#next(); next && next.length <= this.#free; next = this.#next()) {
      this.#count(next.file, next.length);
      this.#waiting.splice(this.#waiting.indexOf(next), 1);
      next.go();
    }
  }

  #next(): Waiting | undefined {
    return (
      this.#waiting.find(({ file, length }) => (this.#taken.get(file) ?? 0) + length <= fileBytes) ?? this.#waiting[0]
    );
  }

  #count(file: number, length: number): void {
    this.#free -= length;
    const taken = (this.#taken.get(file) ?? 0) + length;
    if (taken === 0) this.#taken.delete(file);
    else this.#taken.set(file, taken);
  }
}

function roundUp(length: number): number {
  return Math.ceil(length / step) * step;
}
