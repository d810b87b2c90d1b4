/** `lockstepd run`: the daemon in the foreground, with its signals. */
import { loadConfig } from '../config/load.ts';
import { Daemon } from '../daemon.ts';
import { messageOf } from '../errors.ts';
import { systemClock } from '../system/clock.ts';
import { stdoutIsJournal } from '../system/journal.ts';
import { createLog } from '../system/log.ts';
import { version } from '../system/version.ts';
import { readArgs } from './arguments.ts';
import { type Command, exitCode, type Io } from './command.ts';
import { spec } from './specs/run.ts';

export const command: Command = { spec, run };

async function run(args: readonly string[], io: Io): Promise<number> {
  const { values } = readArgs(spec, args);
  const file = values.config;
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
