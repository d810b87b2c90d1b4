/** What `lockstepd approve` takes and tells. */
import { configOption, daemonExitCodes, type CommandSpec } from '../spec.ts';

export const spec = {
  name: 'approve',
  group: 'act',
  summary: 'publish a held batch',
  text: [
    'Only what a guard holds can be approved; an incomplete or unverified batch cannot. An approval covers what lockstepd preview shows, of exactly these indexes: anything else that turns up is held again.',
  ],
  arguments: [{ name: 'BATCH', kind: 'batch' }],
  options: { reason: { value: 'TEXT', text: 'kept in the history' }, config: configOption },
  exitCodes: daemonExitCodes,
  examples: [
    {
      command: "lockstepd approve 20261122T190000-bpo-1f2e3d4c --reason 'branch was retired'",
      does: 'let a removal of many packages through',
    },
  ],
} as const satisfies CommandSpec;
