/** What `lockstepd reload` takes and tells. */
import { configOption, daemonExitCodes, type CommandSpec } from '../spec.ts';

export const spec = {
  name: 'reload',
  group: 'daemon',
  summary: 'make the daemon read its configuration again',
  text: [
    'A bad file keeps the old configuration; its problems are printed. The same as SIGHUP.',
    'Prints which keys changed, and which of them wait for a restart. A push to a mirror whose configuration is as before goes on.',
  ],
  options: { config: configOption },
  exitCodes: { ...daemonExitCodes, 78: 'the configuration cannot be used, the old one stays' },
  examples: [{ command: 'lockstepd check && lockstepd reload', does: 'apply a changed configuration' }],
} as const satisfies CommandSpec;
