/** What `lockstepd check` takes and tells. */
import { configOption, type CommandSpec } from '../spec.ts';

export const spec = {
  name: 'check',
  group: 'setup',
  summary: 'read the configuration and say every problem at once',
  text: [
    'Reads the configuration and what it points to (keys, identities, directories) and prints each problem as FILE:LINE:COLUMN: KEY: what, expected what.',
    'With --online it then tries each mirror, eight at a time: host key, login and directory, without writing or starting anything there, and an index and lockstep.json from its URL. One line each: ok on stdout, warn and fail with what to do on stderr.',
  ],
  options: { online: { text: 'try the account and the URL of each mirror too' }, config: configOption },
  exitCodes: {
    0: 'it can be used',
    1: 'a mirror or a URL does not answer as it should (--online)',
    78: 'it cannot be used',
  },
  examples: [
    {
      command: 'lockstepd check --config /etc/lockstepd/lockstepd.yaml && systemctl reload lockstepd',
      does: 'apply a changed configuration if it is right',
    },
    { command: 'lockstepd check --online', does: 'see whether every mirror lets us in' },
  ],
} as const satisfies CommandSpec;
