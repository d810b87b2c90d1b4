/** What `lockstepd status` takes and tells. */
import { configOption, type CommandSpec } from '../spec.ts';

export const spec = {
  name: 'status',
  group: 'look',
  summary: 'show the served generation, every mirror and open batches',
  text: ['Asks the running daemon over its unix socket.'],
  options: { json: { text: 'print the document of /status.json' }, config: configOption },
  exitCodes: { 0: 'every mirror is in step', 3: 'some are behind', 75: 'no daemon answers' },
  examples: [
    { command: 'lockstepd status', does: 'is everything in step?' },
    {
      command: "lockstepd status --json | jq '.mirrors[] | select(.lag_seconds > 600) | .name'",
      does: 'name the mirrors that are more than ten minutes behind',
    },
  ],
} as const satisfies CommandSpec;
