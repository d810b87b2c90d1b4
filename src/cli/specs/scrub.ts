/** What `lockstepd scrub` takes and tells. */
import { configOption, type CommandSpec } from '../spec.ts';

export const spec = {
  name: 'scrub',
  group: 'act',
  summary: 'read everything published again, compare the mirrors, mend what is wrong',
  text: [
    'Reads every published file on the primary again and compares it with what was verified; damaged ones go to the quarantine and are replaced by a good copy from an inbox or a mirror. Then compares each mirror with its generation and mends what differs.',
    'Waits until that is done; Ctrl-C ends the waiting, not the scrub. When one runs already, its end is waited for.',
  ],
  options: { json: { text: 'print the report as JSON' }, config: configOption },
  exitCodes: {
    0: 'all is as it must be, or is again',
    4: 'something is damaged and could not be mended',
    75: 'no daemon answers',
  },
  examples: [{ command: "lockstepd scrub --json | jq '.damaged[].path'", does: 'name the files that are lost' }],
} as const satisfies CommandSpec;
