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
    config: configOption,
  },
  exitCodes: daemonExitCodes,
  examples: [{ command: 'lockstepd push paris && lockstepd status', does: 'try a mirror again that was repaired' }],
} as const satisfies CommandSpec;
