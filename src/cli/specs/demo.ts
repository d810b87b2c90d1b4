/** What `lockstepd demo` takes and tells. */
import type { CommandSpec } from '../spec.ts';

export const spec = {
  name: 'demo',
  group: 'setup',
  summary: 'show the main job on this machine, with nothing to configure',
  text: [
    'A builder signs and uploads a batch every few seconds, the daemon publishes it and brings it to mirrors of different transports; one of them goes away now and then and catches up. Everything lives in a new folder below .demo in the checkout and is gone at the end. Ctrl-C ends it.',
  ],
  options: {
    seconds: { value: 'N', kind: 'number', text: 'end after so long, when all mirrors are in step' },
    interval: { value: 'N', kind: 'number', default: '4', text: 'seconds between batches' },
    port: { value: 'N', kind: 'number', default: '0', text: 'port of the status page; 0 is any that is free' },
  },
  exitCodes: { 0: 'ended', 3: 'a mirror was not in step when the time was over' },
  examples: [{ command: 'lockstepd demo --seconds 30', does: 'half a minute of it' }],
} as const satisfies CommandSpec;
