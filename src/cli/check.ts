/** `lockstepd check`: reads the configuration as the daemon would and says every problem at once; with --online it tries the mirrors too. It changes nothing. */
import { warningsOf } from '../config/consistency.ts';
import { keyWarnings } from '../config/key-warnings.ts';
import { loadConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import { ConfigError } from '../errors.ts';
import { systemClock } from '../system/clock.ts';
import { escapeText } from '../system/log.ts';
import { readArgs } from './arguments.ts';
import { type Command, exitCode, type Io } from './command.ts';
import { findingLine } from './doctor/finding.ts';
import { judgeMirrors } from './doctor/online.ts';
import { spec } from './specs/check.ts';

export const command: Command = { spec, run: check };

async function check(args: readonly string[], io: Io): Promise<number> {
  const { config: file, online } = readArgs(spec, args).values;
  try {
    const config = await loadConfig(file, { env: io.env, outsideService: true });
    const outsideService = io.env.CREDENTIALS_DIRECTORY === undefined;
    const warnings = [...warningsOf(config, outsideService), ...(await keyWarnings(config, systemClock.now()))];
    for (const warning of warnings) io.err(`${escapeText(`${file}: warning: ${warning}`)}\n`);
    const counts = `${count(config.inboxes.length, 'inbox', 'inboxes')}, ${count(config.mirrors.length, 'mirror', 'mirrors')}`;
    io.out(`${escapeText(file)}: ok: ${counts}\n`);
    return online ? await tryMirrors(config, io) : exitCode.ok;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    for (const { line, column, key, message } of error.problems) {
      io.err(`${escapeText(`${file}:${line}:${column}: ${key}: ${message}`)}\n`);
    }
    return exitCode.config;
  }
}

/** What is well goes to stdout, the rest to stderr. */
async function tryMirrors(config: Config, { err, out, signal }: Io): Promise<number> {
  // What connects is loaded only for this.
  const { gatherOnline } = await import('./doctor/online-facts.ts');
  const findings = judgeMirrors(await gatherOnline(config, { clock: systemClock, signal }));
  for (const finding of findings) (finding.level === 'ok' ? out : err)(`${escapeText(findingLine(finding))}\n`);
  return findings.some(({ level }) => level === 'fail') ? exitCode.failure : exitCode.ok;
}

function count(n: number, one: string, many: string): string {
  return `${n} ${n === 1 ? one : many}`;
}
