/** `lockstepd run`: the daemon in the foreground, with its signals. */
import { loadConfig } from '../config/load.ts';
import { Daemon } from '../daemon.ts';
import { messageOf } from '../errors.ts';
import { systemClock } from '../system/clock.ts';
import { stdoutIsJournal } from '../system/journal.ts';
import { createLog } from '../system/log.ts';
import { version } from '../system/version.ts';
import { type Command, exitCode, type Io } from './command.ts';
import { defaultConfigFile, readArgs } from './options.ts';

export const command: Command = {
  name: 'run',
  summary: 'run the daemon in the foreground',
  help: `Usage: lockstepd run [--config FILE]

Logs to stdout, one event a line: JSON, or short text on a terminal.

  --config FILE   the configuration (default ${defaultConfigFile})

Signals: TERM and INT finish the work in hand, then stop (a second one stops at once);
HUP reads the configuration again.

Example:
  lockstepd check && lockstepd run
`,
  run,
};

async function run(args: readonly string[], io: Io): Promise<number> {
  const { values } = readArgs('run', { args: [...args], options: { config: { type: 'string' } } });
  const file = values.config ?? defaultConfigFile;
  const config = await loadConfig(file, { env: io.env });
  if (io.signal.aborted) return exitCode.ok;
  const log = createLog({ level: config.log.level, terminal: io.terminal, journal: stdoutIsJournal(io.env) });
  const daemon = new Daemon({
    config,
    loadConfig: () => loadConfig(file, { env: io.env }),
    version,
    env: io.env,
    clock: systemClock,
    random: Math.random,
    log,
    setLogLevel: (level) => log.setLevel(level),
  });
  const stopNow = io.stopNow ?? new AbortController().signal;
  const asked = stopped(io.signal);
  try {
    await daemon.start();
    using _ = io.onHangUp?.(() => {
      // What went wrong is in the log, the metrics and the status.
      daemon.reload().catch((error: unknown) => log.debug('reload_refused', { detail: messageOf(error) }));
    });
    await Promise.race([asked, daemon.failed()]);
    return exitCode.ok;
  } finally {
    await daemon.stop(stopNow);
  }
}

function stopped(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
