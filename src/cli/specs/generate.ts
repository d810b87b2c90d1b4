/** What `lockstepd generate` takes and tells. */
import type { CommandSpec } from '../spec.ts';

/** Where the package installs the runbook. */
export const installedRunbook = 'file:///usr/share/doc/lockstepd/runbook.md';

export const spec = {
  name: 'generate',
  group: 'shell',
  summary: 'print what other programs are fed with: rules, dashboard',
  text: [
    'What is printed fits this version: after an upgrade, print it again. The same files lie in the directory config of the installation.',
    'The rules expect the scrape job lockstepd. Every alert has a severity (critical, warning, info), a summary, a description that says what to do, and the address of its entry in the runbook.',
  ],
  subcommands: {
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
  },
  exitCodes: { 0: 'printed', 1: 'the installation lacks the file' },
  examples: [
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
