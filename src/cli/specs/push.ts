/** What `lockstepd push` takes and tells. */
import { configOption, daemonExitCodes, type CommandSpec } from '../spec.ts';

export const spec = {
  name: 'push',
  group: 'act',
  summary: 'push to a mirror now, whatever it waits for',
  text: [
    'It may wait for the time after a failure, for a quiet window to end, or for another primary that serves it; a mirror that was blocked by a failure is tried again. One that was blocked by hand is not. Where mirrors switch together, packages go now and indexes with the others.',
  ],
  arguments: [{ name: 'MIRROR', kind: 'mirror' }],
  options: {
    force: {
      text: 'overwrite what the mirror holds, even if it is ahead of us or was never published here, and remove what only another primary knows',
    },
    wait: { text: 'wait until the push has ended, and show how far it is' },
    config: configOption,
  },
  exitCodes: { ...daemonExitCodes, 3: 'with --wait: the mirror is not in step' },
  examples: [
    { command: 'lockstepd push paris && lockstepd status', does: 'try a mirror again that was repaired' },
    { command: 'lockstepd push paris --wait', does: 'fill a new mirror, and see how long that takes' },
  ],
} as const satisfies CommandSpec;
