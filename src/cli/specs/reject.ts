/** What `lockstepd reject` takes and tells. */
import { configOption, daemonExitCodes, type CommandSpec } from '../spec.ts';

export const spec = {
  name: 'reject',
  group: 'act',
  summary: 'refuse a held batch for good',
  text: ['Its indexes are not published until the builder uploads other ones.'],
  arguments: [{ name: 'BATCH', kind: 'batch' }],
  options: { reason: { value: 'TEXT', text: 'kept in the history' }, config: configOption },
  exitCodes: daemonExitCodes,
  examples: [
    {
      command: "lockstepd reject 20261122T190000-bpo-1f2e3d4c --reason 'upload to the wrong place'",
      does: 'keep a mistake from being published',
    },
  ],
} as const satisfies CommandSpec;
