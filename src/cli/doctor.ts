/** `lockstepd doctor`: looks at the machine, the configuration's paths and every mirror, and says what is wrong and what to do. */
import { loadConfig } from '../config/load.ts';
import { systemClock } from '../system/clock.ts';
import { escapeJson, escapeText } from '../system/log.ts';
import { type Command, exitCode, type Io } from './command.ts';
import { examine } from './doctor/examine.ts';
import { findingLine, findingsJson, hasFailed, summaryLine } from './doctor/finding.ts';
import { systemMachine } from './doctor/machine.ts';
import { defaultConfigFile, readArgs } from './options.ts';

export const command: Command = {
  name: 'doctor',
  summary: 'look at this machine and at every mirror, and say what to do about what is wrong',
  help: `Usage: lockstepd doctor [--json] [--config FILE]

Looks at programs and their versions, limits, clock, disks, owners and modes, signing keys, sshd and
the keys of upload accounts, the service, and tries each mirror and its URL as check --online does.
One line each: ok, warn or fail, what was looked at, what was found, what to do about it.
Changes nothing, here or at a mirror; the daemon may run or not. What only root may look at is said.

  --json          one JSON document
  --config FILE   the configuration (default ${defaultConfigFile})

Exit code 0: nothing failed; 1: something did; 78: the configuration cannot be used.

Example:
  sudo lockstepd doctor | grep -v ^ok
`,
  run: doctor,
};

async function doctor(args: readonly string[], io: Io): Promise<number> {
  const options = { json: { type: 'boolean' }, config: { type: 'string', default: defaultConfigFile } } as const;
  const { json, config: file } = readArgs('doctor', { args: [...args], options }).values;
  // What the paths lead to is looked at more closely here, and by another user perhaps than the daemon's.
  const config = await loadConfig(file, { env: io.env, outsideService: true, ignoreDisk: true });
  const machine = systemMachine(io.env, io.signal);
  const groups = await examine({ config, machine, clock: systemClock, signal: io.signal });
  if (json === true) io.out(`${escapeJson(findingsJson(groups), { lines: true })}\n`);
  else {
    for (const { title, findings } of groups) {
      io.out(`${title}\n`);
      for (const finding of findings) io.out(`${escapeText(findingLine(finding))}\n`);
      io.out('\n');
    }
    io.out(`${summaryLine(groups)}\n`);
  }
  return hasFailed(groups) ? exitCode.failure : exitCode.ok;
}
