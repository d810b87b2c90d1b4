/** Long files that go out whole: read into place between the lengths that rsync wants, into memory that is used again. */
import type { FileHandle } from 'node:fs/promises';
import { frame, message } from './rsync-wire.ts';
import { readSource } from './source.ts';
import type { PushFile } from './transport.ts';

/** Most bytes of content behind one length (CHUNK_SIZE of rsync.h): receivers with the patch for CVE-2026-43618 take no more. */
export const literalBytes = 32 * 1024;

const headBytes = 4;
const literalsInAPiece = 8;
const pieceBytes = literalsInAPiece * literalBytes;

/** A piece of a file as one frame. */
export interface Piece {
  readonly frame: Buffer;
  readonly content: readonly Buffer[];
  readonly bytes: number;
}

/** Memory for two pieces: one is read while the other goes out. */
export class Pieces {
  readonly #slots: Buffer[] = [];
  #next = 0;

  /**
   * The piece of `file` that begins at `at`, null at its end. Its memory is used again by the second call behind this one. Throws
   * TransportError `vanished` for a file that has become shorter.
   */
  async read(source: FileHandle, file: PushFile, at: number): Promise<Piece | null> {
    const bytes = Math.min(pieceBytes, file.size - at);
    if (bytes <= 0) return null;
    const count = Math.ceil(bytes / literalBytes);
    const whole = this.#slot().subarray(0, headBytes + count * headBytes + bytes);
    const [head] = frame(message.data, whole.subarray(headBytes));
    head?.copy(whole);
    const content = Array.from({ length: count }, (_, n) => {
      const length = Math.min(literalBytes, bytes - n * literalBytes);
      const from = headBytes + n * (headBytes + literalBytes);
      whole.writeInt32LE(length, from);
      return whole.subarray(from + headBytes, from + headBytes + length);
    });
    const { bytesRead } = await source.readv(content, at);
    // A file that has become shorter, or a file system that gives less at a time.
    if (bytesRead < bytes)
      for (const [n, part] of content.entries()) await readSource(source, part, at + n * literalBytes, file);
    return { frame: whole, content, bytes };
  }

  #slot(): Buffer {
    const n = this.#next;
    this.#next = 1 - n;
    return (this.#slots[n] ??= Buffer.allocUnsafeSlow(headBytes + literalsInAPiece * (headBytes + literalBytes)));
  }
}
