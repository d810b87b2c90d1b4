/** `lockstepd mirror block` and `mirror unblock`: keep a mirror from being pushed to, and go on. */
import { UsageError } from '../errors.ts';
import { escapeText } from '../system/log.ts';
import { type Command, exitCode } from './command.ts';
import { askConfigured, defaultConfigFile, readArgs, requireSuccess, whoRuns } from './options.ts';

export const command: Command = {
  name: 'mirror',
  summary: 'keep a mirror from being pushed to, or go on with it',
  help: `Usage: lockstepd mirror block NAME [--reason TEXT] [--config FILE]
       lockstepd mirror unblock NAME [--config FILE]

block     ends the push in hand and begins no other, over restarts of the daemon too. The mirror keeps what it has; it is
          probed as before, and its lag counts.
unblock   ends a block, be it by hand or because of a failure that needs a person (auth, host_key, permission, …), and
          forgets the failures before: the next push is tried at once. Without it such a mirror is looked at again every
          six hours, when its configuration changes, and by lockstepd push.

  --reason TEXT   shown by status and kept until the block ends
  --config FILE   the daemon's configuration (default ${defaultConfigFile})

Example:
  lockstepd mirror block paris --reason 'its owner changes the disks'
`,
  run: async (args, io) => {
    const { values, positionals } = readArgs('mirror', {
      args: [...args],
      allowPositionals: true,
      options: { reason: { type: 'string' }, config: { type: 'string' } },
    });
    const [action, mirror, ...rest] = positionals;
    if ((action !== 'block' && action !== 'unblock') || mirror === undefined || rest.length > 0)
      throw new UsageError('mirror: expected block NAME or unblock NAME');
    if (action === 'unblock' && values.reason !== undefined)
      throw new UsageError('mirror unblock: --reason is for block');
    const body = { action, mirror, who: whoRuns(io), why: values.reason ?? '' };
    const answer = await askConfigured(io, values.config ?? defaultConfigFile, '/control/mirror', body);
    io.out(`${escapeText(requireSuccess(answer))}\n`);
    return exitCode.ok;
  },
};
