/** What several commands share: the configuration they name, the socket they ask, the way arguments are read. */
import { userInfo } from 'node:os';
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { loadSocket } from '../config/load.ts';
import { messageOf, OperationError, UsageError } from '../errors.ts';
import { askDaemon, type ControlAnswer } from '../system/control.ts';
import type { Io } from './command.ts';

export const defaultConfigFile = '/etc/lockstepd/lockstepd.yaml';

/** A rollback may read many packages before it answers. */
export const operationMs = 30 * 60_000;

/** parseArgs whose complaints are UsageErrors that begin with the command's name. */
export function readArgs<T extends ParseArgsConfig>(command: string, config: T): ReturnType<typeof parseArgs<T>> {
  try {
    return parseArgs(config);
  } catch (error) {
    throw new UsageError(`${command}: ${messageOf(error)}`);
  }
}

/** Exactly one positional argument. */
export function oneArgument(command: string, positionals: readonly string[], what: string): string {
  const [value, ...rest] = positionals;
  if (value === undefined || rest.length > 0)
    throw new UsageError(`${command}: expected one ${what}, got ${positionals.length} arguments`);
  return value;
}

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
