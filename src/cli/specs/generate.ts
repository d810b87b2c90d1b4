/** What `lockstepd generate` takes and tells. */
import type { CommandSpec } from '../spec.ts';

/** Where the package installs the runbook. */
export const installedRunbook = 'file:///usr/share/doc/lockstepd/runbook.md';

export const spec = {
  name: 'generate',
  group: 'shell',
  summary: 'print what other programs need: manual pages, the schema of the configuration, rules, dashboard',
  text: [
    'What is printed fits this version. The package installs manual pages and the schema already. SOURCE_DATE_EPOCH, where it is set, is the date of manual pages.',
    'The rules expect the scrape job lockstepd. Every alert has a severity (critical, warning, info), a summary, a description that says what to do, and the address of its entry in the runbook.',
  ],
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
    rules: {
      text: 'the alerting and recording rules for Prometheus',
      options: {
        'runbook-base': {
          value: 'URL',
          default: installedRunbook,
          text: 'where your people read the runbook: the name of the alert follows in small letters, after a # or, where the URL ends with a slash, as the last component',
        },
      },
    },
    dashboard: { text: 'the dashboard for Grafana: import it, and choose the Prometheus that scrapes lockstepd' },
    schema: { text: 'the JSON Schema of the configuration, for editors (yaml-language-server) and other checks' },
  },
  exitCodes: { 0: 'printed or written', 1: 'a file cannot be written, or the installation lacks one' },
  examples: [
    { command: 'lockstepd generate man lockstepd.yaml | man -l -', does: 'read about the configuration' },
    {
      command: 'lockstepd generate schema > lockstepd.schema.json',
      does: 'have the editor check a file that begins with # yaml-language-server: $schema=lockstepd.schema.json',
    },
    {
      command: 'lockstepd generate rules > /etc/prometheus/lockstepd.rules.yml',
      does: 'alerts; name the file in rule_files of prometheus.yml',
    },
    {
      command: 'lockstepd generate rules --runbook-base https://wiki.example.org/lockstepd/runbook',
      does: 'the same with links into your wiki',
    },
    { command: 'lockstepd generate dashboard > lockstepd.json', does: 'a file to import in Grafana' },
  ],
} as const satisfies CommandSpec;
