/** What `lockstepd generate` takes and tells. */
import type { CommandSpec } from '../spec.ts';

export const spec = {
  name: 'generate',
  group: 'shell',
  summary: 'print what other programs need: manual pages, the schema of the configuration',
  text: ['The package installs all of it already. SOURCE_DATE_EPOCH, where it is set, is the date of manual pages.'],
  subcommands: {
    man: {
      text: 'the manual page PAGE, or all of them as files',
      arguments: [
        {
          name: 'PAGE',
          kind: 'text',
          optional: true,
          text: 'lockstepd, lockstepd.yaml or lockstepd-COMMAND; lockstepd when none is given',
        },
      ],
      options: { into: { value: 'DIR', kind: 'directory', text: 'write every page into this directory instead' } },
    },
    schema: { text: 'the JSON Schema of the configuration, for editors (yaml-language-server) and other checks' },
  },
  exitCodes: { 0: 'printed or written' },
  examples: [
    { command: 'lockstepd generate man lockstepd.yaml | man -l -', does: 'read about the configuration' },
    {
      command: 'lockstepd generate schema > lockstepd.schema.json',
      does: 'have the editor check a file that begins with # yaml-language-server: $schema=lockstepd.schema.json',
    },
  ],
} as const satisfies CommandSpec;
