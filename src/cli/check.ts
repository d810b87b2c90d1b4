/** `lockstepd check`: reads the configuration as the daemon would and says every problem at once; it changes nothing. */
import { warningsOf } from '../config/consistency.ts';
import { keyWarnings } from '../config/key-warnings.ts';
import { loadConfig } from '../config/load.ts';
import { ConfigError } from '../errors.ts';
import { systemClock } from '../system/clock.ts';
import { escapeText } from '../system/log.ts';
import { type Command, exitCode, type Io } from './command.ts';
import { defaultConfigFile, readArgs } from './options.ts';

export const command: Command = {
  name: 'check',
  summary: 'read the configuration and say every problem at once',
  help: `Usage: lockstepd check [--config FILE]

Reads the configuration and what it points to (keys, identities, directories) and
prints each problem as FILE:LINE:COLUMN: KEY: what, expected what.

  --config FILE   the configuration (default ${defaultConfigFile})

Exit code 0: it can be used; 78: it cannot.

Example:
  lockstepd check --config /etc/lockstepd/lockstepd.yaml && systemctl reload lockstepd
`,
  run: check,
};

async function check(args: readonly string[], io: Io): Promise<number> {
  const options = { config: { type: 'string', default: defaultConfigFile } } as const;
  const file = readArgs('check', { args: [...args], options }).values.config;
  try {
    const config = await loadConfig(file, { env: io.env, outsideService: true });
    const outsideService = io.env.CREDENTIALS_DIRECTORY === undefined;
    const warnings = [...warningsOf(config, outsideService), ...(await keyWarnings(config, systemClock.now()))];
    for (const warning of warnings) io.err(`${escapeText(`${file}: warning: ${warning}`)}\n`);
    const counts = `${count(config.inboxes.length, 'inbox', 'inboxes')}, ${count(config.mirrors.length, 'mirror', 'mirrors')}`;
    io.out(`${escapeText(file)}: ok: ${counts}\n`);
    return exitCode.ok;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    for (const { line, column, key, message } of error.problems) {
      io.err(`${escapeText(`${file}:${line}:${column}: ${key}: ${message}`)}\n`);
    }
    return exitCode.config;
  }
}

function count(n: number, one: string, many: string): string {
  return `${n} ${n === 1 ? one : many}`;
}
