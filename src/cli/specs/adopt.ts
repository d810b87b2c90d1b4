/** What `lockstepd adopt` takes and tells. */
import { configOption, type CommandSpec } from '../spec.ts';

export const spec = {
  name: 'adopt',
  group: 'setup',
  summary: 'take an existing public directory over, once it is verified',
  text: [
    'Verifies every repository below DIR that the inboxes of the configuration may hold, and makes all of them the next generation: files are hard-linked where they lie on the same file system, belong to this user and are writable by nobody else, and copied otherwise. When DIR is ROOT/public itself, a plain directory so far, the link takes its place and the directory is kept as ROOT/public.before-adopt: remove it when you are sure. DIR is not changed otherwise.',
    'Prints what is missing (gap), what is not what its index says (mismatch), indexes that do not verify (refused) and files that no index names (stranger): these are left out. With a mismatch or a refused index nothing is taken over.',
    'The daemon must not run; run this as its user. Broken off at any point, run it again: it finishes or starts over.',
  ],
  arguments: [{ name: 'DIR', kind: 'directory', text: 'the directory with the repositories' }],
  options: {
    'dry-run': { text: 'verify and print only; nothing is written, and the daemon may run' },
    missing: {
      value: 'WHAT',
      choices: {
        hold: 'gaps keep the directory from being taken over',
        publish: 'they do not',
      },
      text: 'what gaps mean; default missing_packages of each inbox',
    },
    config: configOption,
  },
  exitCodes: { 0: 'taken over', 4: 'something does not verify', 78: 'the configuration cannot be used' },
  examples: [
    {
      command: 'sudo -u lockstepd lockstepd adopt /srv/mirror/public --dry-run',
      does: 'see what would be taken over',
    },
    {
      command:
        'systemctl stop lockstepd && sudo -u lockstepd lockstepd adopt /srv/mirror/public && systemctl start lockstepd',
      does: 'take it over',
    },
  ],
} as const satisfies CommandSpec;
