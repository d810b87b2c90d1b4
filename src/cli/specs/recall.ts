/** What `lockstepd recall` takes and tells. */
import { configOption, daemonExitCodes, type CommandSpec } from '../spec.ts';

export const spec = {
  name: 'recall',
  group: 'act',
  summary: 'remove a package everywhere at once, and keep it out',
  text: [
    'Removes the file from the public tree and every other tree at once, and from each mirror with its next push, also one that is down now. An upload that brings the same bytes again is refused (RECALLED). Indexes that name the file go on naming it: clients cannot install it until the builder uploads an index without it, or roll back to an older one.',
    'It says which served packages need what goes, by its name or by what it provides (so:, cmd:, pc:), and find that in nothing that stays: neither in the recalled release nor in their own (what shares the path above REPOSITORY/ARCH), for their architecture. Versions are not compared: foo>=2 needs foo. At most 50 are named, all are counted. An index that cannot be read is told and stops nothing.',
    'A file that was pruned here already can be recalled too: it goes from mirrors that come back with it.',
  ],
  arguments: [{ name: 'PACKAGE', kind: 'text', text: 'NAME, NAME-VERSION or REPOSITORY/FILE' }],
  options: {
    reason: { value: 'TEXT', required: true, text: 'kept in the history' },
    all: { text: 'every file that PACKAGE means, if that is more than one' },
    'dry-run': { text: 'only say what would go, and which indexes and packages that breaks' },
    config: configOption,
  },
  exitCodes: daemonExitCodes,
  examples: [
    {
      command: "lockstepd recall main/x86_64/openssh-10.0-r3.apk --reason 'contains a private key'",
      does: 'take a leaked file back',
    },
  ],
} as const satisfies CommandSpec;
