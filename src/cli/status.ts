/** `lockstepd status`: what the running daemon serves and how far each mirror is; once, or again and again. */
import { setTimeout as delay } from 'node:timers/promises';
import { OperationError, UsageError } from '../errors.ts';
import { allInStep, type Status } from '../observe/status.ts';
import { renderStatusText } from '../observe/status-text.ts';
import { systemClock } from '../system/clock.ts';
import { escapeJson, escapeText } from '../system/log.ts';
import { readArgs } from './arguments.ts';
import { type Command, exitCode, type Io } from './command.ts';
import { askConfigured } from './options.ts';
import { hasColours, Screen } from './screen.ts';
import { spec } from './specs/status.ts';

export const command: Command = { spec, run: status };

async function status(args: readonly string[], io: Io): Promise<number> {
  const { values } = readArgs(spec, args);
  if (values.watch !== undefined) return watch(values.config, intervalMs(values.watch), values.json, io);
  const answer = await askStatus(io, values.config);
  if (values.json) io.out(`${escapeJson(JSON.stringify(answer, null, 1), { lines: true })}\n`);
  else io.out(textOf(answer, io));
  return codeOf(answer);
}

/** The document of `/status.json`. Throws OperationError, ConfigError. */
export async function askStatus(io: Io, configFile: string): Promise<Status> {
  const { status: code, body } = await askConfigured(io, configFile, '/status.json');
  if (code !== 200 || !isStatus(body))
    throw new OperationError('STATE', `the daemon answered ${code} to a question for its status`);
  return body;
}

/** True for the document of `/status.json`. */
export function isStatus(body: unknown): body is Status {
  return typeof body === 'object' && body !== null && 'version' in body && body.version === 1;
}

/** Until Ctrl-C; a daemon that is gone is said, with what was known last, and asked again. */
async function watch(configFile: string, everyMs: number, json: boolean, io: Io): Promise<number> {
  let last: Status | null = null;
  let code: number = exitCode.tryAgain;
  using screen = new Screen(io, { redraws: !json });
  while (!io.signal.aborted) {
    let problem: readonly string[] = [];
    try {
      last = await askStatus(io, configFile);
      code = codeOf(last);
    } catch (error) {
      if (!(error instanceof OperationError)) throw error;
      code = error.code === 'UNREACHABLE' ? exitCode.tryAgain : exitCode.failure;
      problem = [`no daemon answers, asked again every ${everyMs / 1000} s`, error.message];
    }
    if (json && problem.length === 0) io.out(`${escapeJson(JSON.stringify(last))}\n`);
    else if (json) io.err(`lockstepd: ${escapeText(problem.join(': '))}\n`);
    else screen.show(last === null ? '' : textOf(last, io), problem);
    await delay(everyMs, undefined, { signal: io.signal }).catch((error: unknown) => {
      if (!io.signal.aborted) throw error;
    });
  }
  return code;
}

function textOf(answer: Status, io: Io): string {
  return renderStatusText(answer, { terminal: hasColours(io), columns: io.columns, nowMs: systemClock.now() });
}

function codeOf(answer: Status): number {
  return allInStep(answer) ? exitCode.ok : exitCode.behind;
}

function intervalMs(written: string): number {
  const seconds = /^\d{1,4}(\.\d{1,3})?$/.test(written) ? Number(written) : Number.NaN;
  if (seconds >= 0.2 && seconds <= 3600) return seconds * 1000;
  throw new UsageError(`status: --watch ${JSON.stringify(written)}: expected seconds from 0.2 to 3600`);
}
