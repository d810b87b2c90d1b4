/** `lockstepd mirror block` and `mirror unblock`: keep a mirror from being pushed to, and go on. */
import { escapeText } from '../system/log.ts';
import { readSubcommand } from './arguments.ts';
import { type Command, exitCode } from './command.ts';
import { askConfigured, requireSuccess, whoRuns } from './options.ts';
import { spec } from './specs/mirror.ts';

export const command: Command = {
  spec,
  run: async (args, io) => {
    const { name: action, values, operands } = readSubcommand(spec, args);
    const why = 'reason' in values ? (values.reason ?? '') : '';
    const body = { action, mirror: operands[0], who: whoRuns(io), why };
    const answer = await askConfigured(io, values.config, '/control/mirror', body);
    io.out(`${escapeText(requireSuccess(answer))}\n`);
    return exitCode.ok;
  },
};
