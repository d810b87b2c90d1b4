#!/usr/bin/env node
/** The process: finds the command, hands it its arguments, turns what it returns or throws into an exit code. */
// First of all: a signal that comes while the rest is loaded must not end the process.
import { listenToHangUps, stopNowSignal, stopSignal } from './system/signals.ts';
import type { Command, Io } from './cli/command.ts';
import { exitCode } from './cli/command.ts';
import { ConfigError, messageOf, OperationError, UsageError } from './errors.ts';
import { escapeText } from './system/log.ts';
import { reserveThreads } from './system/threads.ts';
import { version } from './system/version.ts';

/** Each command is loaded when it is asked for: `verify` must not pay for what the daemon needs. */
const commands: Readonly<Record<string, { readonly summary: string; readonly load: () => Promise<Command> }>> = {
  run: { summary: 'run the daemon in the foreground', load: async () => (await import('./cli/run.ts')).command },
  check: {
    summary: 'read the configuration and say every problem at once',
    load: async () => (await import('./cli/check.ts')).command,
  },
  verify: {
    summary: 'verify packages, indexes or whole repositories',
    load: async () => (await import('./cli/verify.ts')).command,
  },
  status: {
    summary: 'show the served generation, every mirror and open batches',
    load: async () => (await import('./cli/status.ts')).command,
  },
  push: {
    summary: 'push to a mirror now, whatever it waits for',
    load: async () => (await import('./cli/control.ts')).pushCommand,
  },
  mirror: {
    summary: 'keep a mirror from being pushed to, or go on with it',
    load: async () => (await import('./cli/mirror.ts')).command,
  },
  preview: {
    summary: 'show what a batch would change, before it is decided',
    load: async () => (await import('./cli/preview.ts')).command,
  },
  approve: { summary: 'publish a held batch', load: async () => (await import('./cli/control.ts')).approveCommand },
  reject: {
    summary: 'refuse a held batch for good',
    load: async () => (await import('./cli/control.ts')).rejectCommand,
  },
  history: {
    summary: 'show what was published and decided, newest first',
    load: async () => (await import('./cli/history.ts')).command,
  },
  rollback: {
    summary: 'publish the indexes of an older generation again',
    load: async () => (await import('./cli/rollback.ts')).command,
  },
  prune: {
    summary: 'remove what nothing needs any more, or say what that would be',
    load: async () => (await import('./cli/prune.ts')).command,
  },
  recall: {
    summary: 'remove a package everywhere at once, and keep it out',
    load: async () => (await import('./cli/recall.ts')).command,
  },
  reload: {
    summary: 'make the daemon read its configuration again',
    load: async () => (await import('./cli/control.ts')).reloadCommand,
  },
  scrub: {
    summary: 'read everything published again, compare the mirrors, mend what is wrong',
    load: async () => (await import('./cli/scrub.ts')).command,
  },
  keys: {
    summary: 'list the trusted keys, or audit what is published against them',
    load: async () => (await import('./cli/keys.ts')).command,
  },
  adopt: {
    summary: 'take an existing public directory over, once it is verified',
    load: async () => (await import('./cli/adopt.ts')).command,
  },
  backup: {
    summary: 'copy the state to a file, whether the daemon runs or not',
    load: async () => (await import('./cli/backup.ts')).command,
  },
  doctor: {
    summary: 'look at this machine and at every mirror, and say what to do about what is wrong',
    load: async () => (await import('./cli/doctor.ts')).command,
  },
  demo: {
    summary: 'show the main job on this machine, with nothing to configure',
    load: async () => (await import('./cli/demo.ts')).command,
  },
};

function overview(): string {
  const list = Object.entries(commands).map(([name, { summary }]) => `  ${name.padEnd(9)} ${summary}`);
  return `lockstepd ${version}: keeps the mirrors of a signed package repository in lockstep with their primary

Usage: lockstepd COMMAND [ARGUMENTS]

${list.join('\n')}

lockstepd COMMAND --help tells more about each.
`;
}

async function main(argv: readonly string[], io: Io): Promise<number> {
  const [name, ...args] = argv;
  if (name === '--version') {
    io.out(`lockstepd ${version}\n`);
    return exitCode.ok;
  }
  if (name === '--help' || name === 'help') {
    io.out(overview());
    return exitCode.ok;
  }
  const found = name === undefined || !Object.hasOwn(commands, name) ? undefined : commands[name];
  if (!found) {
    const what = name === undefined ? 'no command given' : `no command ${escapeText(name)}`;
    throw new UsageError(`${what}: expected one of ${Object.keys(commands).join(', ')}: see lockstepd --help`);
  }
  const command = await found.load();
  if (args.includes('--help')) {
    io.out(command.help);
    return exitCode.ok;
  }
  return command.run(args, io);
}

function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return exitCode.usage;
  if (error instanceof ConfigError) return exitCode.config;
  if (error instanceof OperationError && error.code === 'UNREACHABLE') return exitCode.tryAgain;
  return exitCode.failure;
}

reserveThreads(process.env);
// A reader that has gone away, as in `lockstepd verify | head`, ends the program quietly.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(exitCode.ok);
});

try {
  process.exitCode = await main(process.argv.slice(2), {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    terminal: process.stdout.isTTY,
    env: process.env,
    signal: stopSignal,
    stopNow: stopNowSignal,
    onHangUp: listenToHangUps,
  });
} catch (error) {
  const lines = error instanceof ConfigError ? error.message.split('\n') : [`lockstepd: ${messageOf(error)}`];
  for (const line of lines) process.stderr.write(`${escapeText(line)}\n`);
  process.exitCode = exitCodeOf(error);
}
