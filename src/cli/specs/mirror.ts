/** What `lockstepd mirror` takes and tells. */
import { configOption, daemonExitCodes, type CommandSpec } from '../spec.ts';

const name = { name: 'NAME', kind: 'mirror', text: 'the mirror' } as const;

export const spec = {
  name: 'mirror',
  group: 'act',
  summary: 'keep a mirror from being pushed to, or go on with it',
  text: [],
  subcommands: {
    block: {
      text: 'end the push in hand and begin no other, over restarts of the daemon too. The mirror keeps what it has; it is probed as before, and its lag counts.',
      arguments: [name],
      options: {
        reason: { value: 'TEXT', text: 'shown by status and kept until the block ends' },
        config: configOption,
      },
    },
    unblock: {
      text: 'end a block, be it by hand or because of a failure that needs a person (auth, host_key, permission, …), and forget the failures before: the next push is tried at once. Without it such a mirror is looked at again every six hours, when its configuration changes, and by lockstepd push.',
      arguments: [name],
      options: { config: configOption },
    },
  },
  exitCodes: daemonExitCodes,
  examples: [
    {
      command: "lockstepd mirror block paris --reason 'its owner changes the disks'",
      does: 'leave a mirror alone for a while',
    },
    { command: 'lockstepd mirror unblock paris', does: 'go on with it' },
  ],
} as const satisfies CommandSpec;
