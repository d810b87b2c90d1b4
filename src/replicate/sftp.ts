/** The sftp transport: files travel over one kept SSH connection, all in flight, and are renamed into place when every answer is good. */
import { posix } from 'node:path';
import { TransportError } from '../errors.ts';
import { systemClock } from '../system/clock.ts';
import type { SftpSession } from '../system/ssh-sftp.ts';
import { openFlag, SftpStatusError, status } from '../system/ssh-sftp-wire.ts';
import { canBurst, uploadBurst } from './sftp-burst.ts';
import { createSftpCaller, type SftpConnection } from './sftp-call.ts';
import { uploadFiles } from './sftp-upload.ts';
import type { SshTransportOptions } from './ssh-options.ts';
import { bytesOf, type RemoteFile, type Transport } from './transport.ts';

/** Readdir requests in flight: each brings about a hundred names and costs a round trip. */
const readAhead = 8;
/** Bytes of one read request: every server answers with so many (section 3). */
const readBytes = 32 * 1024;
/** Removals in flight. */
const removeAhead = 256;
/** Sessions beside the first that a put is spread over: so many sync at once, and the file system commits them together. */
const spareSessions = 2;
/** Directories that are remembered: for others a burst waits until their files have come the usual way. */
const mostKnown = 1000;
/** S_IFMT and S_IFREG of stat(2). */
const typeMask = 0o170000;
const regularFile = 0o100000;

/**
 * After a power cut at the mirror its indexes name only what is there, and nothing that was confirmed is gone, where names reach
 * the disk in the order of their changes (ext4, xfs): SFTP cannot sync a directory. A removal may be undone until the next put has
 * ended.
 * Directories are followed when they are symbolic links: SFTP has no way to refuse them, the server confines the account.
 * Throws TypeError for a target without a valid host key pin.
 */
export function createSftpTransport(options: SshTransportOptions, connection?: SftpConnection): Transport {
  const { target, path: root, fsync = true, clock = systemClock } = options;
  const { call, spare, close } = createSftpCaller(options, connection);
  /** Directories in which files were placed. */
  const known = new Set<string>();
  /** Sessions whose server did not take a burst. */
  const unfit = new WeakSet<SftpSession>();

  return {
    list: (directory, callOptions) =>
      call(callOptions, (session, signal, onBytes) =>
        listDirectory(session, posix.join(root, directory), signal, () => onBytes(0)),
      ),
    put: (sourceRoot, waves, callOptions) =>
      call(
        callOptions,
        async (session, signal, onBytes) => {
          const { gate, pace } = callOptions;
          if (!session.extensions.has('posix-rename@openssh.com')) throw noRename(target.host);
          // A server works off the requests of a session one by one: it is the syncs that gain by several.
          const others = fsync && waves.flat().length > 1 ? spare(spareSessions) : [];
          const upload = { session, others, root, sourceRoot, waves, gate, fsync, clock, signal, onBytes, pace };
          // A handle is foretold as soon as its close is sent: refused, it would still be that of a file that has its name.
          if (!unfit.has(session)) await Promise.all([session, ...others].map((one) => one.closed()));
          signal.throwIfAborted();
          if (!unfit.has(session) && canBurst(upload, known)) {
            if (await uploadBurst(upload)) return;
            unfit.add(session);
          }
          await uploadFiles(upload);
          for (const { path } of waves.flat()) if (known.size < mostKnown) known.add(posix.dirname(path));
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
    check: (callOptions) => call(callOptions, async (session) => void (await session.stat(root))),
    close,
  };
}

/** Without it an index would be missing for a moment each time it is replaced. */
export function noRename(host: string): TransportError {
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
    signal.throwIfAborted();
    // Asked for with the first read: to be told of the end by a read of nothing would cost another round trip.
    const knowing = sizeOf(session, handle);
    for (let length = 0; length <= maxBytes; ) {
      const [chunk, size] = await Promise.all([session.read(handle, length, readBytes), knowing]);
      signal.throwIfAborted();
      alive();
      chunks.push(chunk);
      length += chunk.length;
      if (chunk.length === 0 || length === size) return length > maxBytes ? null : Buffer.concat(chunks);
    }
    return null;
  } finally {
    session.close(handle).catch(() => {});
  }
}

/** Undefined where the server does not say. */
async function sizeOf(session: SftpSession, handle: Buffer): Promise<number | undefined> {
  try {
    return (await session.handleAttributes(handle)).size;
  } catch (error) {
    if (error instanceof SftpStatusError) return undefined;
    throw error;
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
