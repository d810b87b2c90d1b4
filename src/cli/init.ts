/** `lockstepd init`: the first ten minutes of a primary and of each mirror; which of the two is decided here. */
import { readSubcommand } from './arguments.ts';
import type { Command } from './command.ts';
import { initMirror } from './init-mirror.ts';
import { initPrimary } from './init-primary.ts';
import { spec } from './specs/init.ts';

export const command: Command = {
  spec,
  run: async (args, io) => {
    const read = readSubcommand(spec, args);
    return read.name === 'primary' ? initPrimary(read.values, io) : initMirror(args, read.operands[0], read.values, io);
  },
};
