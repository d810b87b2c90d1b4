/** What `lockstepd status` takes and tells. */
import { type CommandSpec, configOption } from '../spec.ts';

export const spec = {
  name: 'status',
  group: 'look',
  summary: 'show the served generation, every mirror and open batches',
  text: [
    'Asks the running daemon over its unix socket. On a terminal the table is in colours (unless NO_COLOR is set or TERM is dumb), keeps within the width, and has what is wrong at the top.',
    'With --watch it goes on until Ctrl-C and ends with the code of what it showed last. A daemon that does not answer is said and asked again.',
  ],
  options: {
    watch: { value: 'SECONDS', kind: 'number', bare: '2', text: 'go on, and ask again after so long, 0.2 to 3600' },
    json: { text: 'print the document of /status.json; with --watch one in a line each time' },
    config: configOption,
  },
  exitCodes: { 0: 'every mirror is in step', 3: 'some are behind', 75: 'no daemon answers' },
  examples: [
    { command: 'lockstepd status', does: 'is everything in step?' },
    { command: 'lockstepd status --watch', does: 'see a generation arrive at the mirrors' },
    {
      command: "lockstepd status --json | jq '.mirrors[] | select(.lag_seconds > 600) | .name'",
      does: 'name the mirrors that are more than ten minutes behind',
    },
  ],
} as const satisfies CommandSpec;
