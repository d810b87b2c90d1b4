/** `lockstepd scrub`: has the daemon read everything that it published again, shows how far it is, and tells what it found. */
import { setTimeout as delay } from 'node:timers/promises';
import { OperationError } from '../errors.ts';
import { isSound, type ScrubStatus } from '../observe/scrub.ts';
import { renderProgress, renderScrub } from '../observe/scrub-text.ts';
import { escapeJson } from '../system/log.ts';
import { readArgs } from './arguments.ts';
import { type Command, exitCode, type Io } from './command.ts';
import { askConfigured, requireSuccess } from './options.ts';
import { isStatus } from './status.ts';
import { spec } from './specs/scrub.ts';

const lookEveryMs = 500;

export const command: Command = { spec, run: scrub };

async function scrub(args: readonly string[], io: Io): Promise<number> {
  const { values } = readArgs(spec, args);
  const file = values.config;
  const before = await ask(io, file);
  requireSuccess(await askConfigured(io, file, '/control/scrub', {}));
  const wanted = before.running ? before.number : before.number + 1;
  let shown = '';
  for (;;) {
    await delay(lookEveryMs, undefined, { signal: io.signal });
    const now = await ask(io, file);
    if (now.number >= wanted && !now.running && now.finished_at !== null) return tell(io, now, values.json);
    const progress = renderProgress(now);
    if (io.terminal && !values.json && progress !== shown) io.err(`${progress}\n`);
    shown = progress;
  }
}

async function ask(io: Io, file: string): Promise<ScrubStatus> {
  const answer = await askConfigured(io, file, '/status.json');
  if (answer.status !== 200 || !isStatus(answer.body))
    throw new OperationError('STATE', `the daemon answered ${answer.status} to a question for its status`);
  return answer.body.scrub;
}

function tell(io: Io, report: ScrubStatus, json: boolean): number {
  io.out(json ? `${escapeJson(JSON.stringify(report, null, 1), { lines: true })}\n` : renderScrub(report));
  return isSound(report) ? exitCode.ok : exitCode.refused;
}
