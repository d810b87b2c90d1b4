/** What `lockstepd history` takes and tells. */
import { configOption, daemonExitCodes, type CommandSpec } from '../spec.ts';

export const spec = {
  name: 'history',
  group: 'look',
  summary: 'show what was published and decided, newest first',
  text: [
    'Each generation: when, by which builder and key, how many packages came and went, in which repositories, and how long verifying, copying and publishing took together. Each decision about a held batch: who and why.',
  ],
  options: {
    limit: { value: 'N', kind: 'number', default: '20', text: 'entries, 1 to 10000' },
    json: { text: 'print JSON, with every stage and digest' },
    config: configOption,
  },
  exitCodes: daemonExitCodes,
  examples: [
    {
      command: `lockstepd history --json | jq '.entries[] | select(.kind == "decision") | [.at, .who, .why]'`,
      does: 'who decided what, and why',
    },
  ],
} as const satisfies CommandSpec;
