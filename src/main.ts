#!/usr/bin/env node
/** The process: finds the command, hands it its arguments, turns what it returns or throws into an exit code. */
// First of all: a signal that comes while the rest is loaded must not end the process.
import { listenToHangUps, stopNowSignal, stopSignal } from './system/signals.ts';
import { exitCode, type Io } from './cli/command.ts';
import { commands } from './cli/commands.ts';
import { ConfigError, messageOf, OperationError, UsageError } from './errors.ts';
import { mapBufferPools } from './system/buffer-pools.ts';
import { escapeText } from './system/log.ts';
import { reserveThreads } from './system/threads.ts';
import { version } from './system/version.ts';

async function main(argv: readonly string[], io: Io): Promise<number> {
  const [name, ...args] = argv;
  if (name === '--version') {
    io.out(`lockstepd ${version}\n`);
    return exitCode.ok;
  }
  const [asked] = args;
  const helped = name === 'help' && asked !== undefined ? asked : name;
  if (helped === '--help' || helped === '-h' || helped === 'help') {
    const [{ renderOverview }, { specs }] = await Promise.all([import('./cli/help.ts'), import('./cli/specs/all.ts')]);
    io.out(renderOverview(specs, version, io.columns));
    return exitCode.ok;
  }
  const load = helped === undefined || !Object.hasOwn(commands, helped) ? undefined : commands[helped];
  if (!load) {
    const what = helped === undefined ? 'no command given' : `no command ${escapeText(helped)}`;
    throw new UsageError(`${what}: expected one of ${Object.keys(commands).join(', ')}: see lockstepd --help`);
  }
  const command = await load();
  if (name === 'help' || asksForHelp(args)) {
    const { renderHelp } = await import('./cli/help.ts');
    io.out(renderHelp(command.spec, io.columns));
    return exitCode.ok;
  }
  return command.run(args, io);
}

function asksForHelp(args: readonly string[]): boolean {
  const end = args.indexOf('--');
  const options = end === -1 ? args : args.slice(0, end);
  return options.includes('--help') || options.includes('-h');
}

function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return exitCode.usage;
  if (error instanceof ConfigError) return exitCode.config;
  if (error instanceof OperationError && error.code === 'UNREACHABLE') return exitCode.tryAgain;
  return exitCode.failure;
}

function whyOf(error: unknown): string {
  const stopped = stopSignal.aborted && error instanceof Error && error.name === 'AbortError';
  return stopped ? `stopped by ${messageOf(stopSignal.reason)}` : messageOf(error);
}

reserveThreads(process.env);
mapBufferPools();
// A reader that has gone away, as in `lockstepd verify | head`, ends the program quietly.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(exitCode.ok);
  // A daemon goes on without its log; what others tell is cut short.
  if (process.argv[2] === 'run') return;
  process.stderr.write(
    `lockstepd: standard output: ${escapeText(error.message)}: what was written there is not whole\n`,
  );
  process.exit(exitCode.failure);
});

try {
  process.exitCode = await main(process.argv.slice(2), {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    terminal: process.stdout.isTTY,
    get columns() {
      return process.stdout.isTTY ? process.stdout.columns : undefined;
    },
    get rows() {
      return process.stdout.isTTY ? process.stdout.rows : undefined;
    },
    get errColumns() {
      return process.stderr.isTTY ? process.stderr.columns : undefined;
    },
    env: process.env,
    signal: stopSignal,
    stopNow: stopNowSignal,
    onHangUp: listenToHangUps,
  });
} catch (error) {
  const lines = error instanceof ConfigError ? error.message.split('\n') : [`lockstepd: ${whyOf(error)}`];
  for (const line of lines) process.stderr.write(`${escapeText(line)}\n`);
  process.exitCode = exitCodeOf(error);
}
