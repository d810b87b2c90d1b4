/** The sftp transport: files travel over one kept SFTP session, all in flight, and are renamed into place when every answer is good. */
import { posix } from 'node:path';
import { TransportError } from '../errors.ts';
import { type Clock, systemClock } from '../system/clock.ts';
import type { SftpSession } from '../system/ssh-sftp.ts';
import { openFlag, SftpStatusError, status } from '../system/ssh-sftp-wire.ts';
import { SshConnection, type SshTarget } from '../system/ssh.ts';
import { explainFailure } from './sftp-failure.ts';
import { uploadFiles } from './sftp-upload.ts';
import { deadlineFor, withStallWatch } from './stall.ts';
import { bytesOf, type RemoteFile, type Transport, type TransportOptions } from './transport.ts';

export interface SftpTransportOptions {
  readonly target: SshTarget;
  /** The mirror's root at the far side; a relative one starts at the account's home. It must exist. */
  readonly path: string;
  readonly clock?: Clock;
  /** A call without any progress for this long ends in `timeout`, default 60 s. */
  readonly stallMs?: number;
  /** A call may take this long in all, or longer when it moves much (see stall.ts); default 10 min. */
  readonly deadlineMs?: number;
  /** Sync each file before it gets its name, so that a power cut at the mirror tears nothing; default true. */
  readonly fsync?: boolean;
  /** Deadline for connecting, default 15 s. */
  readonly connectTimeoutMs?: number;
}

/** Readdir requests in flight: each brings about a hundred names and costs a round trip. */
const readAhead = 8;
/** Bytes of one read request: every server answers with so many (section 3). */
const readBytes = 32 * 1024;
/** Removals in flight. */
const removeAhead = 256;
/** S_IFMT and S_IFREG of stat(2). */
const typeMask = 0o170000;
const regularFile = 0o100000;

/**
 * Directories are followed when they are symbolic links: SFTP has no way to refuse them, the server confines the account.
 * Throws TypeError for a target without a valid host key pin.
 */
export function createSftpTransport(options: SftpTransportOptions): Transport {
  const { target, path: root, clock = systemClock, stallMs = 60_000, fsync = true, connectTimeoutMs } = options;
  const connection = new SshConnection(target, connectTimeoutMs === undefined ? {} : { connectTimeoutMs });

  async function call<T>(
    { signal, onBytes }: TransportOptions,
    work: (session: SftpSession, signal: AbortSignal, onBytes: (bytes: number) => void) => Promise<T>,
    toMove = 0,
  ): Promise<T> {
    const deadlineMs = deadlineFor(toMove, options.deadlineMs);
    const watch = { clock, stallMs, deadlineMs, signal, onStall: (error: Error) => connection.reset(error) };
    return withStallWatch(watch, async (inner, alive) => {
      let session: SftpSession | undefined;
      try {
        session = await connection.sftp(inner);
        return await work(session, inner, (bytes) => {
          alive();
          if (bytes > 0) onBytes?.(bytes);
        });
      } catch (error) {
        inner.throwIfAborted();
        throw await explainFailure(error, session, root);
      }
    });
  }

  return {
    list: (directory, callOptions) =>
      call(callOptions, (session, signal, onBytes) =>
        listDirectory(session, posix.join(root, directory), signal, () => onBytes(0)),
      ),
    put: (sourceRoot, waves, callOptions) =>
      call(
        callOptions,
        (session, signal, onBytes) => {
          if (!session.extensions.has('posix-rename@openssh.com')) throw noRename(target.host);
          return uploadFiles({ session, root, sourceRoot, waves, gate: callOptions.gate, fsync, signal, onBytes });
        },
        bytesOf(waves),
      ),
    readsBeside: true,
    read: (path, maxBytes, callOptions) =>
      call(callOptions, (session, signal, onBytes) =>
        readFile(session, posix.join(root, path), maxBytes, signal, () => onBytes(0)),
      ),
    remove: (paths, callOptions) =>
      call(callOptions, (session, signal, onBytes) =>
        removeFiles(
          session,
          paths.map((path) => posix.join(root, path)),
          signal,
          () => onBytes(0),
        ),
      ),
    close: () => connection.close(),
  };
}

/** Without it an index would be missing for a moment each time it is replaced. */
function noRename(host: string): TransportError {
  return new TransportError(
    'option_refused',
    'permanent',
    `the SFTP server of ${host} does not offer posix-rename@openssh.com, files could not be replaced in one step: use the rsync transport or another server`,
  );
}

async function listDirectory(
  session: SftpSession,
  directory: string,
  signal: AbortSignal,
  alive: () => void,
): Promise<ReadonlyMap<string, RemoteFile>> {
  const found = new Map<string, RemoteFile>();
  let handle: Buffer;
  try {
    handle = await session.openDirectory(directory);
  } catch (error) {
    if (error instanceof SftpStatusError && error.status === status.noSuchFile) return found;
    throw error;
  }
  try {
    for (let more = true; more; ) {
      signal.throwIfAborted();
      const answers = await Promise.all(Array.from({ length: readAhead }, () => session.readDirectory(handle)));
      alive();
      more = answers.every((entries) => entries !== undefined);
      for (const { name, attributes } of answers.flatMap((entries) => entries ?? [])) {
        const { permissions = 0, size = 0, mtimeSeconds = 0 } = attributes;
        if ((permissions & typeMask) === regularFile) found.set(name, { size, mtimeSeconds });
      }
    }
    return found;
  } finally {
    // Nothing hangs on the answer; a session that is gone has closed it.
    session.close(handle).catch(() => {});
  }
}

async function readFile(
  session: SftpSession,
  path: string,
  maxBytes: number,
  signal: AbortSignal,
  alive: () => void,
): Promise<Buffer | null> {
  let handle: Buffer;
  try {
    handle = await session.open(path, openFlag.read, 0);
  } catch (error) {
    if (error instanceof SftpStatusError && error.status === status.noSuchFile) return null;
    throw error;
  }
  try {
    const chunks: Buffer[] = [];
    for (let length = 0; length <= maxBytes; ) {
      signal.throwIfAborted();
      const chunk = await session.read(handle, length, readBytes);
      alive();
      if (chunk.length === 0) return Buffer.concat(chunks);
      chunks.push(chunk);
      length += chunk.length;
    }
    return null;
  } finally {
    session.close(handle).catch(() => {});
  }
}

async function removeFiles(
  session: SftpSession,
  paths: readonly string[],
  signal: AbortSignal,
  alive: () => void,
): Promise<void> {
  for (let start = 0; start < paths.length; start += removeAhead) {
    signal.throwIfAborted();
    const some = paths.slice(start, start + removeAhead);
    const answers = await Promise.allSettled(some.map((path) => session.remove(path)));
    alive();
    for (const answer of answers) {
      if (answer.status === 'fulfilled') continue;
      const { reason } = answer as { reason: Error };
      if (!(reason instanceof SftpStatusError && reason.status === status.noSuchFile)) throw reason;
    }
  }
}
