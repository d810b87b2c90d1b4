/** Makes the directories that an SFTP upload finds missing. */
import { posix } from 'node:path';
import { SftpStatusError, status } from '../system/ssh-sftp-wire.ts';
import type { Upload } from './sftp-upload.ts';

const directoryMode = 0o755;

/**
 * What makes directories below the root when an open found none, each once. The root itself is never made: where it is missing, a
 * disk is not mounted or the path is wrong.
 */
export function directoryMaker({
  session,
  root,
  onBytes,
  signal,
}: Pick<Upload, 'session' | 'root' | 'onBytes' | 'signal'>): (directory: string) => Promise<void> {
  const made = new Map<string, Promise<void>>();
  const makeOnce = (directory: string): Promise<void> => {
    const known = made.get(directory) ?? make(directory);
    made.set(directory, known);
    return known;
  };
  const make = async (directory: string): Promise<void> => {
    signal.throwIfAborted();
    const path = posix.join(root, directory);
    if (directory === '.') {
      // Throws what the caller would have seen: no such file.
      await session.stat(path);
      return;
    }
    let failure = await attempt(session.makeDirectory(path, directoryMode));
    onBytes(0);
    if (isNoSuchFile(failure)) {
      await makeOnce(posix.dirname(directory));
      failure = await attempt(session.makeDirectory(path, directoryMode));
    }
    if (failure === undefined) {
      // The account's umask may have taken bits that a web server needs.
      await session.setAttributes(path, { permissions: directoryMode });
      return;
    }
    const { permissions = 0 } = await session.stat(path);
    if ((permissions & 0o170000) !== 0o040000) throw failure;
  };
  return makeOnce;
}

/** What a request failed of, or undefined. */
async function attempt(request: Promise<void>): Promise<Error | undefined> {
  try {
    await request;
    return undefined;
  } catch (error) {
    return error as Error;
  }
}

export function isNoSuchFile(error: unknown): boolean {
  return error instanceof SftpStatusError && error.status === status.noSuchFile;
}
