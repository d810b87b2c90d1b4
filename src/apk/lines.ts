/** Cuts text that streams by into its lines, never more than the present one held. */
import { FormatError } from '../errors.ts';
import { limits } from './limits.ts';

const newline = 0x0a;

export class LineSplitter {
  readonly #onLine: (bytes: Buffer, start: number, end: number) => void;
  #rest: Buffer = Buffer.alloc(0);

  /** `onLine` takes a line as `[start, end)` of a buffer that is only valid during the call. */
  constructor(onLine: (bytes: Buffer, start: number, end: number) => void) {
    this.#onLine = onLine;
  }

  /** Takes the next bytes. Throws LIMIT for too long a line, and what `onLine` throws. */
  push(bytes: Buffer): void {
    let at = 0;
    if (this.#rest.length > 0) {
      const end = bytes.indexOf(newline);
      at = end < 0 ? bytes.length : end + 1;
      this.#keep(bytes.subarray(0, end < 0 ? bytes.length : end));
      if (end < 0) return;
      const line = this.#rest;
      this.#rest = Buffer.alloc(0);
      this.#onLine(line, 0, line.length);
    }
    for (let end = bytes.indexOf(newline, at); end >= 0; end = bytes.indexOf(newline, at)) {
      if (end - at > limits.lineBytes) throw tooLong();
      this.#onLine(bytes, at, end);
      at = end + 1;
    }
    if (at < bytes.length) this.#keep(bytes.subarray(at));
  }

  /** Says that the text has ended; the last line needs no newline. */
  finish(): void {
    if (this.#rest.length > 0) this.#onLine(this.#rest, 0, this.#rest.length);
    this.#rest = Buffer.alloc(0);
  }

  /** Keeps the beginning of a line whose end is still to come; copied, for what was given may be overwritten. */
  #keep(bytes: Buffer): void {
    if (this.#rest.length + bytes.length > limits.lineBytes) throw tooLong();
    this.#rest = Buffer.concat([this.#rest, bytes]);
  }
}

function tooLong(): FormatError {
  return new FormatError('LIMIT', `a line of the index is longer than ${limits.lineBytes} bytes`);
}
