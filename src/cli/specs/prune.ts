/** What `lockstepd prune` takes and tells. */
import { configOption, daemonExitCodes, type CommandSpec } from '../spec.ts';

export const spec = {
  name: 'prune',
  group: 'act',
  summary: 'remove what nothing needs any more, or say what that would be',
  text: [
    'A package goes when it has been out of every served index for publish.grace and no mirror that is behind still serves an index that names it (no longer than publish.keep_for_mirrors). The daemon does this by itself every ten minutes.',
  ],
  options: { 'dry-run': { text: 'only say what, why and how much' }, config: configOption },
  exitCodes: daemonExitCodes,
  examples: [{ command: 'lockstepd prune --dry-run', does: 'how much room would it make?' }],
} as const satisfies CommandSpec;
