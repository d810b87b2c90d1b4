import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import { parse } from 'yaml';
import { readArgs, readSubcommand } from '../../src/cli/arguments.ts';
import { specs } from '../../src/cli/specs/all.ts';
import { config, promtool, readRules, rulesFile } from './monitoring.ts';

const alerts = (await readRules()).groups.flatMap(({ rules }) => rules.filter(({ alert }) => alert !== undefined));
const names = [...new Set(alerts.map(({ alert = '' }) => alert))];
const runbook = await readFile(join(config, 'docs/runbook.md'), 'utf8');
const testFiles = ['lockstepd.test.yml', 'lockstepd.alerts.test.yml', 'lockstepd.slow.test.yml'];

test('promtool accepts the rules', (t) => promtool(t, ['check', 'rules', rulesFile]));

for (const file of testFiles)
  test(`each alert fires when it should and is quiet when it should: ${file}`, (t) =>
    promtool(t, ['test', 'rules', join(config, 'prometheus', file)]));

interface AlertTest {
  readonly alertname: string;
  readonly exp_alerts?: readonly { readonly exp_labels: Readonly<Record<string, string>> }[];
}

test('of each alert, and of each severity that it has, it is tested that it fires, and that it is quiet', async () => {
  const texts = await Promise.all(testFiles.map((file) => readFile(join(config, 'prometheus', file), 'utf8')));
  const all = texts.flatMap((text) =>
    (parse(text) as { tests: { alert_rule_test?: AlertTest[] }[] }).tests.flatMap((one) => one.alert_rule_test ?? []),
  );
  const fired = all.flatMap(({ alertname, exp_alerts = [] }) =>
    exp_alerts.map(({ exp_labels }) => `${alertname} ${exp_labels.severity}`),
  );
  for (const { alert, labels } of alerts) assert.ok(fired.includes(`${alert} ${labels?.severity}`), `${alert} fires`);
  const quiet = new Set(all.filter(({ exp_alerts = [] }) => exp_alerts.length === 0).map(({ alertname }) => alertname));
  assert.deepEqual(
    names.filter((name) => !quiet.has(name)),
    [],
    'each is quiet at some time',
  );
});

test('each alert says how bad it is, what is the matter, what to do, and where more is said', () => {
  assert.ok(names.length >= 32);
  for (const { alert = '', labels = {}, annotations = {} } of alerts) {
    assert.match(labels.severity ?? '', /^(critical|warning|info)$/, alert);
    assert.ok((annotations.summary ?? '').length > 10 && (annotations.description ?? '').length > 40, alert);
    assert.equal(annotations.runbook_url, `file:///usr/share/doc/lockstepd/runbook.md#${alert.toLowerCase()}`);
  }
});

test('the runbook has one entry for each alert and no other, each with the same four parts', () => {
  const entries = runbook.split(/^## /m).slice(1);
  const headings = entries.map((entry) => entry.slice(0, entry.indexOf('\n')));
  assert.deepEqual(headings, names);
  for (const entry of entries)
    assert.deepEqual(entry.match(/^\*\*\w+[*.]/gm), ['**Means.', '**Look.', '**Do.', '**Ends*'], entry.slice(0, 40));
  for (const [, anchor] of runbook.matchAll(/\]\(#([^)]*)\)/g))
    assert.ok(
      names.some((name) => name.toLowerCase() === anchor),
      `#${anchor} is an entry`,
    );
});

test('each event that the runbook names is one that the daemon logs', async () => {
  const list = await readFile(join(config, 'docs/events.md'), 'utf8');
  const named = [...runbook.matchAll(/events?\s`(\w+)`/g)].map(([, event = '']) => event);
  assert.ok(named.length >= 4);
  for (const event of named) assert.ok(list.includes(`\`${event}\``), `${event} is in events.md`);
});

test('each command that the runbook, a summary or a description names is one that its parser accepts', () => {
  const texts = [runbook, ...alerts.flatMap(({ annotations = {} }) => Object.values(annotations))];
  const found = texts.flatMap((text) => [...text.matchAll(/`lockstepd ([^`]+)`/g)].map((m) => m[1] ?? ''));
  assert.ok(found.length > 80);
  for (const line of found) {
    const [name = '', ...args] = line.replaceAll(/\{\{ \$labels\.\w+ \}\}/g, 'NAME').split(/\s+/);
    const spec = specs.find((one) => one.name === name);
    assert.ok(spec, `lockstepd ${line}: there is such a command`);
    // A command in passing, such as `lockstepd mirror block`, has no arguments.
    if (args.some((arg) => /^[A-Z-]/.test(arg)))
      assert.doesNotThrow(() => (spec.subcommands ? readSubcommand(spec, args) : readArgs(spec, args)), line);
    else if (spec.subcommands) assert.ok(args[0] !== undefined && Object.hasOwn(spec.subcommands, args[0]), line);
  }
});
