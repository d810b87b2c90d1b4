/** What `lockstepd doctor` takes and tells. */
import { configOption, type CommandSpec, jsonOption } from '../spec.ts';

export const spec = {
  name: 'doctor',
  group: 'setup',
  summary: 'look at this machine and at every mirror, say what to do about what is wrong',
  text: [
    'Looks at programs and their versions, the service, limits, clock, disks, owners and modes, signing keys, sshd and the keys of upload accounts, and tries each mirror and its URL as check --online does. One line each: ok, warn or fail, what was looked at, what was found, what to do about it.',
    'Changes nothing, here or at a mirror; the daemon may run or not. It needs no root, and says what only root may look at.',
  ],
  options: { json: jsonOption, config: configOption },
  exitCodes: { 0: 'nothing failed', 1: 'something did', 78: 'the configuration cannot be used' },
  examples: [
    { command: 'sudo lockstepd doctor | grep -v ^ok', does: 'show only what deserves a look' },
    {
      command: `lockstepd doctor --json | jq '.findings[] | select(.level == "fail")'`,
      does: 'hand what failed to a program',
    },
  ],
} as const satisfies CommandSpec;
