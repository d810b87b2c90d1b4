/** Which files of a mirror are read, and in what pieces work on files is done. Pure. */
import type { PushFile } from '../replicate/transport.ts';

/** Keeps at most `limit` of the files that it is shown (null: all), each as likely as any other (reservoir sampling). */
export class Sample<T> {
  readonly #limit: number | null;
  readonly #random: () => number;
  readonly #kept: T[] = [];
  #seen = 0;

  constructor(limit: number | null, random: () => number) {
    this.#limit = limit;
    this.#random = random;
  }

  get files(): readonly T[] {
    return this.#kept;
  }

  show(file: T): void {
    this.#seen++;
    if (this.#limit === null || this.#kept.length < this.#limit) this.#kept.push(file);
    else {
      const slot = Math.floor(this.#random() * this.#seen);
      if (slot < this.#limit) this.#kept[slot] = file;
    }
  }
}

/** Files that are handled at once: a push that becomes due waits for no more than these. */
const pieceFiles = 32;
const pieceBytes = 8 * 1024 * 1024;

export function* pieces<T extends PushFile>(files: Iterable<T>): Generator<T[]> {
  let piece: T[] = [];
  let bytes = 0;
  for (const file of files) {
    piece.push(file);
    bytes += file.size;
    if (piece.length < pieceFiles && bytes < pieceBytes) continue;
    yield piece;
    piece = [];
    bytes = 0;
  }
  if (piece.length > 0) yield piece;
}
