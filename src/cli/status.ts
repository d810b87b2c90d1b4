/** `lockstepd status`: what the running daemon serves and how far each mirror is. */
import { OperationError } from '../errors.ts';
import { allInStep, type Status } from '../observe/status.ts';
import { renderStatusText } from '../observe/status-text.ts';
import { systemClock } from '../system/clock.ts';
import { escapeJson } from '../system/log.ts';
import { readArgs } from './arguments.ts';
import { type Command, exitCode, type Io } from './command.ts';
import { askConfigured } from './options.ts';
import { spec } from './specs/status.ts';

export const command: Command = { spec, run: status };

async function status(args: readonly string[], io: Io): Promise<number> {
  const { values } = readArgs(spec, args);
  const answer = await askConfigured(io, values.config, '/status.json');
  if (answer.status !== 200 || !isStatus(answer.body))
    throw new OperationError('STATE', `the daemon answered ${answer.status} to a question for its status`);
  if (values.json) io.out(`${escapeJson(JSON.stringify(answer.body, null, 1), { lines: true })}\n`);
  else io.out(renderStatusText(answer.body, { terminal: io.terminal, nowMs: systemClock.now() }));
  return allInStep(answer.body) ? exitCode.ok : exitCode.behind;
}

/** True for the document of `/status.json`. */
export function isStatus(body: unknown): body is Status {
  return typeof body === 'object' && body !== null && 'version' in body && body.version === 1;
}
