/** `lockstepd status`: what the running daemon serves and how far each mirror is. */
import { OperationError } from '../errors.ts';
import { allInStep, type Status } from '../observe/status.ts';
import { renderStatusText } from '../observe/status-text.ts';
import { systemClock } from '../system/clock.ts';
import { escapeJson } from '../system/log.ts';
import { type Command, exitCode, type Io } from './command.ts';
import { askConfigured, defaultConfigFile, readArgs } from './options.ts';

export const command: Command = {
  name: 'status',
  summary: 'show the served generation, every mirror and open batches',
  help: `Usage: lockstepd status [--json] [--config FILE]

Asks the running daemon over its unix socket.

  --json          the document of /status.json
  --config FILE   the daemon's configuration (default ${defaultConfigFile})

Exit code 0: every mirror is in step; 3: some are behind; 75: no daemon answers.

Example:
  lockstepd status --json | jq '.mirrors[] | select(.lag_seconds > 600) | .name'
`,
  run: status,
};

async function status(args: readonly string[], io: Io): Promise<number> {
  const { values } = readArgs('status', {
    args: [...args],
    options: { json: { type: 'boolean' }, config: { type: 'string' } },
  });
  const answer = await askConfigured(io, values.config ?? defaultConfigFile, '/status.json');
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
