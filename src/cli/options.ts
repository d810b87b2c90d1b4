/** What several commands share: the socket of the configuration they name, what the daemon answers. */
import { userInfo } from 'node:os';
import { loadSocket } from '../config/load.ts';
import { OperationError } from '../errors.ts';
import { askDaemon, type ControlAnswer } from '../system/control.ts';
import type { Io } from './command.ts';

/** A rollback may read many packages before it answers. */
export const operationMs = 30 * 60_000;

/** Asks the daemon that runs with the configuration `configFile`. Throws ConfigError, OperationError UNREACHABLE. */
export async function askConfigured(
  io: Io,
  configFile: string,
  path: string,
  body?: unknown,
  timeoutMs?: number,
): Promise<ControlAnswer> {
  return askDaemon(await loadSocket(configFile, { env: io.env }), path, body, timeoutMs);
}

/** Who runs the command, as far as the system knows. */
export function whoRuns(io: Io): string {
  if (io.env.SUDO_USER !== undefined) return io.env.SUDO_USER;
  try {
    return userInfo().username;
  } catch {
    // An account without an entry in passwd, in a container for instance.
    return `uid ${process.getuid?.() ?? 'unknown'}`;
  }
}

/** The `message` of an answer that is not a success, as an error. */
export function requireSuccess(answer: ControlAnswer): string {
  const message = messageIn(answer);
  if (answer.status >= 200 && answer.status < 300) return message;
  throw new OperationError('STATE', message === '' ? `the daemon answered ${answer.status}` : message);
}

/** What the daemon says in an answer; empty when it says nothing. */
export function messageIn({ body }: ControlAnswer): string {
  return typeof body === 'object' && body !== null && 'message' in body ? String(body.message) : '';
}
