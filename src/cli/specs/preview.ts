/** What `lockstepd preview` takes and tells. */
import { configOption, daemonExitCodes, jsonOption, type CommandSpec } from '../spec.ts';

export const spec = {
  name: 'preview',
  group: 'look',
  summary: 'show what a batch would change, before it is decided',
  text: [
    'For each index of a batch that waits, is held or was rejected: what would be added, upgraded, downgraded, rebuilt and removed, how much must be copied, who signed the index and how old it is.',
  ],
  arguments: [{ name: 'BATCH', kind: 'batch' }],
  options: {
    limit: { value: 'N', kind: 'number', default: '20', text: 'names of each kind of change, 0 to 1000' },
    json: jsonOption,
    config: configOption,
  },
  exitCodes: daemonExitCodes,
  examples: [
    { command: 'lockstepd preview 20261122T190000-bpo-1f2e3d4c', does: 'look at a held batch before approving it' },
  ],
} as const satisfies CommandSpec;
