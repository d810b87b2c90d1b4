/** `lockstepd run`: the daemon in the foreground, with its signals. */
import { loadConfig } from '../config/load.ts';
import { Daemon } from '../daemon.ts';
import { messageOf } from '../errors.ts';
import { systemClock } from '../system/clock.ts';
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
  const log = createLog({ level: config.log.level, terminal: io.terminal });
  const daemon = new Daemon({
    config,
    loadConfig: () => loadConfig(file, { env: io.env }),
    version,
    env: io.env,
    clock: systemClock,
    random: Math.random,
    log,
  });
  const stopNow = new AbortController();
  const asked = Promise.withResolvers<void>();
  let signals = 0;
  const onStop = (): void => {
    asked.resolve();
    if (++signals > 1) stopNow.abort();
  };
  const onHangUp = (): void => {
    // What went wrong is in the log, the metrics and the status.
    daemon.reload().catch((error: unknown) => log.debug('reload_refused', { detail: messageOf(error) }));
  };
  process.on('SIGHUP', onHangUp);
  process.on('SIGTERM', onStop).on('SIGINT', onStop);
  try {
    await daemon.start();
    await Promise.race([asked.promise, daemon.failed()]);
    return exitCode.ok;
  } finally {
    await daemon.stop(stopNow.signal);
    process.off('SIGHUP', onHangUp);
    process.off('SIGTERM', onStop).off('SIGINT', onStop);
  }
}
