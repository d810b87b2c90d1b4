/** `lockstepd scrub`: has the daemon read everything that it published again, shows how far it is, and tells what it found. */
import { setTimeout as delay } from 'node:timers/promises';
import { OperationError } from '../errors.ts';
import { isSound, type ScrubStatus } from '../observe/scrub.ts';
import { renderProgress, renderScrub } from '../observe/scrub-text.ts';
import { escapeJson } from '../system/log.ts';
import { type Command, exitCode, type Io } from './command.ts';
import { askConfigured, defaultConfigFile, readArgs, requireSuccess } from './options.ts';
import { isStatus } from './status.ts';

const lookEveryMs = 500;

export const command: Command = {
  name: 'scrub',
  summary: 'read everything published again, compare the mirrors, mend what is wrong',
  help: `Usage: lockstepd scrub [--json] [--config FILE]

Reads every published file on the primary again and compares it with what was verified; damaged ones go to the
quarantine and are replaced by a good copy from an inbox or a mirror. Then compares each mirror with its generation
and mends what differs. Waits until that is done; Ctrl-C ends the waiting, not the scrub. When one runs already, its
end is waited for.

  --json          the report as JSON
  --config FILE   the daemon's configuration (default ${defaultConfigFile})

Exit code 0: all is as it must be, or is again; 4: something is damaged and could not be mended; 75: no daemon answers.

Example:
  lockstepd scrub --json | jq '.damaged[].path'
`,
  run: scrub,
};

async function scrub(args: readonly string[], io: Io): Promise<number> {
  const { values } = readArgs('scrub', {
    args: [...args],
    options: { json: { type: 'boolean' }, config: { type: 'string' } },
  });
  const file = values.config ?? defaultConfigFile;
  const before = await ask(io, file);
  requireSuccess(await askConfigured(io, file, '/control/scrub', {}));
  const wanted = before.running ? before.number : before.number + 1;
  let shown = '';
  for (;;) {
    await delay(lookEveryMs, undefined, { signal: io.signal });
    const now = await ask(io, file);
    if (now.number >= wanted && !now.running && now.finished_at !== null) return tell(io, now, values.json === true);
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
