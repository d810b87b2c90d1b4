/** `lockstepd keys list` and `keys audit`: which keys are trusted for what, and what of the published hangs on no such key. */
import { readSubcommand } from './arguments.ts';
import type { Command } from './command.ts';
import { audit } from './keys-audit.ts';
import { list } from './keys-list.ts';
import { spec } from './specs/keys.ts';

export const command: Command = {
  spec,
  run: async (args, io) => {
    const { name, values } = readSubcommand(spec, args);
    return name === 'list' ? list(values, io) : audit(values, io);
  },
};
