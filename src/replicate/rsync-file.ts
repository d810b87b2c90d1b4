/** Sends one file to an rsync at the other side: what it has of it already by number, the rest as it is. */
import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { pieceLength, type Sums, sumHead, tokensOf } from './rsync-blocks.ts';
import type { RsyncOutput } from './rsync-output.ts';
import { int32 } from './rsync-wire.ts';
import { openSource, type QuickReads, readSource } from './source.ts';
import type { PushFile } from './transport.ts';

/** A file up to this size goes out in one piece; longer ones in pieces of about this size. */
const pieceBytes = 256 * 1024;

/** A file of ours, opened: its whole content where it is small and at hand. */
export type Source = { readonly whole: Buffer } | { readonly handle: FileHandle };

/** Throws TransportError `vanished` for a file that is not as planned. */
export async function openToSend(sourceRoot: string, file: PushFile, quick: QuickReads): Promise<Source> {
  if (file.size <= pieceBytes) {
    const whole = Buffer.allocUnsafe(file.size);
    if (quick.read(sourceRoot, file, whole)) return { whole };
  }
  return { handle: await openSource(sourceRoot, file) };
}

export interface FileSend {
  readonly file: PushFile;
  readonly source: Source;
  /** What stands before the content: the number of the file and its attributes. */
  readonly head: Buffer;
  readonly sums: Sums;
  readonly seed: number;
  readonly output: RsyncOutput;
  /** Resolves when so many bytes may go out. */
  readonly pace: (bytes: number) => Promise<void>;
  /** Told of bytes of the file that have gone out. */
  readonly onBytes: (bytes: number) => void;
}

/** Closes the source. Throws what `output` or `pace` throws, TransportError `vanished` for a file that becomes shorter. */
export async function sendFile({ file, source, sums, seed, output, pace, onBytes, ...send }: FileSend): Promise<void> {
  const hash = createHash('md5');
  const end = (): Buffer[] => [int32(0), hash.digest()];
  const tokens = async (piece: Buffer, offset: number): Promise<{ parts: Buffer[]; bytes: number }> => {
    hash.update(piece);
    const parts = tokensOf(sums, seed, piece, offset);
    const bytes = parts.reduce((sum, part) => sum + part.length, 0);
    await pace(bytes);
    return { parts, bytes };
  };
  const head = [send.head, sumHead(sums.head)];
  if ('whole' in source) {
    const { parts, bytes } = await tokens(source.whole, 0);
    await output.writeData(...head, ...parts, ...end());
    onBytes(bytes);
    return;
  }
  try {
    await output.writeData(...head);
    const step = pieceLength(sums.head, pieceBytes);
    for (let at = 0; at < file.size; at += step) {
      const piece = Buffer.allocUnsafe(Math.min(step, file.size - at));
      await readSource(source.handle, piece, at, file);
      const { parts, bytes } = await tokens(piece, at);
      await output.writeData(...parts);
      onBytes(bytes);
    }
    await output.writeData(...end());
  } finally {
    await source.handle.close();
  }
}
