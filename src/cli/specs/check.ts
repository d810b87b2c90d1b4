/** What `lockstepd check` takes and tells. */
import { configOption, type CommandSpec } from '../spec.ts';

export const spec = {
  name: 'check',
  group: 'setup',
  summary: 'read the configuration and say every problem at once',
  text: [
    'Reads the configuration and what it points to (keys, identities, directories) and prints each problem as FILE:LINE:COLUMN: KEY: what, expected what.',
  ],
  options: { config: configOption },
  exitCodes: { 0: 'it can be used', 78: 'it cannot' },
  examples: [
    {
      command: 'lockstepd check --config /etc/lockstepd/lockstepd.yaml && systemctl reload lockstepd',
      does: 'apply a changed configuration if it is right',
    },
  ],
} as const satisfies CommandSpec;
