/** What an SFTP call failed of, asked of the other side while the evidence is still there. */
import { errnoOf, messageOf, TransportError } from '../errors.ts';
import { escapeText } from '../system/log.ts';
import type { SftpSession } from '../system/ssh-sftp.ts';
import { SftpStatusError, status } from '../system/ssh-sftp-wire.ts';
import { sftpFault, sshFault } from './faults.ts';

/** Below this a disk counts as full: code 4 says nothing more, and a file of some size was just refused. */
const fullBelowBytes = 256 * 1024;

/** Any error of a call as a TransportError. To be called before temporary files are removed: they fill the disk. */
export async function explainFailure(
  error: unknown,
  session: SftpSession | undefined,
  root: string,
): Promise<TransportError> {
  if (error instanceof TransportError) return error;
  const message = escapeText(messageOf(error));
  const fault =
    error instanceof SftpStatusError
      ? sftpFault({ status: error.status, message, space: await spaceLeft(error, session, root) })
      : sshFault({ code: errnoOf(error), level: levelOf(error), message });
  return new TransportError(fault.reason, fault.kind, fault.message, { cause: error });
}

async function spaceLeft(
  error: SftpStatusError,
  session: SftpSession | undefined,
  root: string,
): Promise<{ full: boolean; readOnly: boolean } | undefined> {
  if (error.status !== status.failure || !session?.extensions.has('statvfs@openssh.com')) return undefined;
  try {
    const { freeBytes, freeFiles, readOnly } = await session.space(root);
    return { full: freeBytes < fullBelowBytes || freeFiles === 0, readOnly };
  } catch {
    return undefined;
  }
}

function levelOf(error: unknown): string | undefined {
  return error instanceof Error && 'level' in error && typeof error.level === 'string' ? error.level : undefined;
}
