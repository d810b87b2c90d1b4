/** What `lockstepd run` takes and tells. */
import { configOption, type CommandSpec } from '../spec.ts';

export const spec = {
  name: 'run',
  group: 'daemon',
  summary: 'run the daemon in the foreground',
  text: [
    'Logs to stdout, one event a line: JSON (for the journal of systemd with its priority), or short text on a terminal.',
    'TERM and INT finish the work in hand, then stop; a second one stops at once. HUP reads the configuration again.',
  ],
  options: { config: configOption },
  exitCodes: { 0: 'stopped by a signal', 78: 'the configuration cannot be used' },
  examples: [{ command: 'lockstepd check && lockstepd run', does: 'run in a shell what the configuration says' }],
} as const satisfies CommandSpec;
