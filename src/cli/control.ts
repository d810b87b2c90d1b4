/** The commands that tell a running daemon to do something: `push`, `approve`, `reject`, `reload`. */
import { escapeText } from '../system/log.ts';
import { type Command, exitCode, type Io } from './command.ts';
import {
  askConfigured,
  defaultConfigFile,
  messageIn,
  oneArgument,
  readArgs,
  requireSuccess,
  whoRuns,
} from './options.ts';

/** How the daemon answers a reload whose configuration it does not take. */
const unusableConfig = 422;
const configHelp = `  --config FILE   the daemon's configuration (default ${defaultConfigFile})`;

export const pushCommand: Command = {
  name: 'push',
  summary: 'push to a mirror now, whatever it waits for',
  help: `Usage: lockstepd push MIRROR [--force] [--config FILE]

Pushes now, whatever the mirror waits for: the time after a failure, a quiet window, another primary that serves it; a
mirror that was blocked by a failure is tried again. One that was blocked by hand is not. Where mirrors switch together,
packages go now and indexes with the others.

  --force         overwrite what the mirror holds, even if it is ahead of us or was never published here, and remove
                  what only another primary knows
${configHelp}

Example:
  lockstepd push paris && lockstepd status
`,
  run: async (args, io) => {
    const { values, positionals } = readArgs('push', {
      args: [...args],
      allowPositionals: true,
      options: { config: { type: 'string' }, force: { type: 'boolean', default: false } },
    });
    const mirror = oneArgument('push', positionals, 'mirror');
    return tell(io, values.config, 'push', { mirror, force: values.force });
  },
};

export const approveCommand: Command = {
  name: 'approve',
  summary: 'publish a held batch',
  help: `Usage: lockstepd approve BATCH [--reason TEXT] [--config FILE]

Only what a guard holds can be approved; an incomplete or unverified batch cannot. An approval covers what
lockstepd preview shows, of exactly these indexes: anything else that turns up is held again.

  --reason TEXT   kept in the history
${configHelp}

Example:
  lockstepd approve 20261122T190000-bpo-1f2e3d4c --reason 'branch was retired'
`,
  run: (args, io) => decide('approve', args, io),
};

export const rejectCommand: Command = {
  name: 'reject',
  summary: 'refuse a held batch for good',
  help: `Usage: lockstepd reject BATCH [--reason TEXT] [--config FILE]

Its indexes are not published until the builder uploads other ones.

  --reason TEXT   kept in the history
${configHelp}

Example:
  lockstepd reject 20261122T190000-bpo-1f2e3d4c --reason 'upload to the wrong place'
`,
  run: (args, io) => decide('reject', args, io),
};

export const reloadCommand: Command = {
  name: 'reload',
  summary: 'make the daemon read its configuration again',
  help: `Usage: lockstepd reload [--config FILE]

A bad file keeps the old configuration; its problems are printed. The same as SIGHUP.

${configHelp}

Example:
  lockstepd check && lockstepd reload
`,
  run: async (args, io) => {
    const { values } = readArgs('reload', { args: [...args], options: { config: { type: 'string' } } });
    return tell(io, values.config, 'reload', {});
  },
};

async function decide(action: 'approve' | 'reject', args: readonly string[], io: Io): Promise<number> {
  const { values, positionals } = readArgs(action, {
    args: [...args],
    allowPositionals: true,
    options: { config: { type: 'string' }, reason: { type: 'string' } },
  });
  return tell(io, values.config, action, {
    batch: oneArgument(action, positionals, 'batch'),
    who: whoRuns(io),
    why: values.reason ?? '',
  });
}

async function tell(io: Io, config: string | undefined, action: string, body: unknown): Promise<number> {
  const answer = await askConfigured(io, config ?? defaultConfigFile, `/control/${action}`, body);
  if (answer.status === unusableConfig) {
    for (const line of messageIn(answer).split('\n')) io.err(`${escapeText(line)}\n`);
    return exitCode.config;
  }
  io.out(`${escapeText(requireSuccess(answer))}\n`);
  return exitCode.ok;
}
