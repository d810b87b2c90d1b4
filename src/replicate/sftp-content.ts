/** Reads files of a mirror back over SFTP, many pieces in flight, and compares their digests. */
import { createHash } from 'node:crypto';
import { posix } from 'node:path';
import type { SftpSession } from '../system/ssh-sftp.ts';
import { openFlag, SftpStatusError, status } from '../system/ssh-sftp-wire.ts';
import type { ContentCheck } from './content.ts';
import { createSftpCaller, type SftpCaller } from './sftp-call.ts';
import type { SshTransportOptions } from './ssh-options.ts';
import type { TransportOptions } from './transport.ts';

/** Reads in flight: one after the other costs a round trip for each, and a stream asks for 64 KiB at a time. */
const readsAhead = 16;

/** Throws TypeError for a target without a valid host key pin. */
export function createSftpCheck(options: SshTransportOptions): ContentCheck {
  const caller = createSftpCaller(options);
  return {
    differing: async (_sourceRoot, files, { pace, ...callOptions }) => {
      const differing = new Set<string>();
      for (const { path, size, sha256 } of files) {
        callOptions.signal.throwIfAborted();
        const hash = createHash('sha256');
        let length = 0;
        for await (const piece of readRemote(caller, posix.join(options.path, path), size, callOptions)) {
          hash.update(piece);
          length += piece.length;
          await pace(piece.length);
        }
        if (length !== size || hash.digest('hex') !== sha256) differing.add(path);
      }
      return differing;
    },
    close: () => caller.close(),
  };
}

/** The first `size` bytes of a file, fewer when it is shorter, none when it is not there. What the reader takes its time for is no stall. */
export async function* readRemote(
  { call }: SftpCaller,
  path: string,
  size: number,
  options: TransportOptions,
): AsyncGenerator<Buffer, void, undefined> {
  const handle = await call(options, (session) => openIfThere(session, path));
  if (handle === null) return;
  try {
    for (let offset = 0; offset < size; ) {
      const from = offset;
      const pieces = await call(options, (session, _signal, onBytes) => {
        const length = session.maxWriteBytes;
        const starts = Array.from({ length: readsAhead }, (_, n) => from + n * length).filter((start) => start < size);
        return Promise.all(
          starts.map((start) => readWhole(session, handle, start, Math.min(length, size - start), () => onBytes(0))),
        );
      });
      for (const { data, whole } of pieces) {
        yield data;
        if (!whole) return;
        offset += data.length;
      }
    }
  } finally {
    await call(options, (session) => session.close(handle)).catch(() => {});
  }
}

async function openIfThere(session: SftpSession, path: string): Promise<Buffer | null> {
  try {
    return await session.open(path, openFlag.read, 0);
  } catch (error) {
    if (error instanceof SftpStatusError && error.status === status.noSuchFile) return null;
    throw error;
  }
}

/** A server may answer with less than was asked for, also before the end of the file. */
async function readWhole(
  session: SftpSession,
  handle: Buffer,
  start: number,
  length: number,
  alive: () => void,
): Promise<{ readonly data: Buffer; readonly whole: boolean }> {
  const parts: Buffer[] = [];
  let got = 0;
  while (got < length) {
    const part = await session.read(handle, start + got, length - got);
    alive();
    if (part.length === 0) break;
    parts.push(part);
    got += part.length;
  }
  return { data: Buffer.concat(parts), whole: got === length };
}
