/** The commands that tell a running daemon to do something: `push`, `approve`, `reject`, `reload`. */
import { escapeText } from '../system/log.ts';
import { readArgs } from './arguments.ts';
import { type Command, exitCode, type Io } from './command.ts';
import { askConfigured, messageIn, requireSuccess, whoRuns } from './options.ts';
import { spec as approve } from './specs/approve.ts';
import { spec as push } from './specs/push.ts';
import { spec as reject } from './specs/reject.ts';
import { spec as reload } from './specs/reload.ts';

/** How the daemon answers a reload whose configuration it does not take. */
const unusableConfig = 422;

export const pushCommand: Command = {
  spec: push,
  run: async (args, io) => {
    const { values, operands } = readArgs(push, args);
    const [mirror] = operands;
    const code = await tell(io, values.config, 'push', { mirror, force: values.force });
    if (!values.wait || code !== exitCode.ok) return code;
    const { waitForPush } = await import('./push-wait.ts');
    return waitForPush(io, values.config, mirror);
  },
};

export const approveCommand: Command = { spec: approve, run: (args, io) => decide(approve, args, io) };

export const rejectCommand: Command = { spec: reject, run: (args, io) => decide(reject, args, io) };

export const reloadCommand: Command = {
  spec: reload,
  run: async (args, io) => tell(io, readArgs(reload, args).values.config, 'reload', {}),
};

async function decide(spec: typeof approve | typeof reject, args: readonly string[], io: Io): Promise<number> {
  const { values, operands } = readArgs(spec, args);
  return tell(io, values.config, spec.name, { batch: operands[0], who: whoRuns(io), why: values.reason ?? '' });
}

async function tell(io: Io, config: string, action: string, body: unknown): Promise<number> {
  const answer = await askConfigured(io, config, `/control/${action}`, body);
  if (answer.status === unusableConfig) {
    for (const line of messageIn(answer).split('\n')) io.err(`${escapeText(line)}\n`);
    return exitCode.config;
  }
  io.out(`${escapeText(requireSuccess(answer))}\n`);
  return exitCode.ok;
}
