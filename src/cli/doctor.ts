/** `lockstepd doctor`: looks at the machine, the configuration's paths and every mirror, and says what is wrong and what to do. */
import { loadConfig } from '../config/load.ts';
import { systemClock } from '../system/clock.ts';
import { escapeJson, escapeText } from '../system/log.ts';
import { readArgs } from './arguments.ts';
import { type Command, exitCode, type Io } from './command.ts';
import { examine } from './doctor/examine.ts';
import { findingLine, findingsJson, hasFailed, summaryLine } from './doctor/finding.ts';
import { systemMachine } from './doctor/machine.ts';
import { spec } from './specs/doctor.ts';

export const command: Command = { spec, run: doctor };

async function doctor(args: readonly string[], io: Io): Promise<number> {
  const { json, config: file } = readArgs(spec, args).values;
  // What the paths lead to is looked at more closely here, and by another user perhaps than the daemon's.
  const config = await loadConfig(file, { env: io.env, outsideService: true, ignoreDisk: true });
  const machine = systemMachine(io.env, io.signal);
  const groups = await examine({ config, machine, clock: systemClock, signal: io.signal });
  if (json) io.out(`${escapeJson(findingsJson(groups), { lines: true })}\n`);
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
