/** What `lockstepd rollback` takes and tells. */
import { configOption, daemonExitCodes, type CommandSpec } from '../spec.ts';

export const spec = {
  name: 'rollback',
  group: 'act',
  summary: 'publish the indexes of an older generation again',
  text: [
    'The signed indexes of generation N become the next generation, on the primary and on every mirror, if every package that they name is still held: in a tree within the grace, or in the inbox. Otherwise says which are missing and changes nothing. Repositories that did not exist at N leave. What was rolled back from still lies in the inbox: it is held (REPLAY) until a newer index comes or it is approved.',
  ],
  options: {
    to: { value: 'N', kind: 'number', required: true, text: 'the generation; lockstepd history lists them' },
    reason: { value: 'TEXT', required: true, text: 'kept in the history' },
    repository: { value: 'PATH', kind: 'repository', text: 'only this repository' },
    'dry-run': { text: 'only say what would change' },
    config: configOption,
  },
  exitCodes: { ...daemonExitCodes, 1: 'packages are missing, nothing was changed' },
  examples: [
    {
      command: "lockstepd rollback --to 41 --reason 'mesa 25.3 breaks the boot' --dry-run",
      does: 'see whether a rollback is possible',
    },
  ],
} as const satisfies CommandSpec;
