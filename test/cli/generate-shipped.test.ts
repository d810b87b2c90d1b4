import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import { parse } from 'yaml';
import type { Io } from '../../src/cli/command.ts';
import { command } from '../../src/cli/generate.ts';
import { UsageError } from '../../src/errors.ts';
import { config, type Rules } from '../observe/monitoring.ts';

async function generate(...args: string[]): Promise<string> {
  let text = '';
  const io = { out: (more: string) => (text += more) } as unknown as Io;
  assert.equal(await command.run(args, io), 0);
  return text;
}

test('rules and dashboard are those that ship', async () => {
  assert.equal(await generate('rules'), await readFile(join(config, 'prometheus/lockstepd.rules.yml'), 'utf8'));
  assert.equal(await generate('dashboard'), await readFile(join(config, 'grafana/lockstepd.json'), 'utf8'));
});

test('the runbook may lie elsewhere, on one page or on one for each alert', async () => {
  const urls = async (base: string): Promise<(string | undefined)[]> => {
    const { groups } = parse(await generate('rules', '--runbook-base', base)) as Rules;
    const alerts = groups.flatMap(({ rules }) => rules).filter(({ alert }) => alert === 'MirrorBlocked');
    return alerts.map(({ annotations }) => annotations?.runbook_url);
  };
  assert.deepEqual(await urls('https://wiki.example.org/a?b=c'), ['https://wiki.example.org/a?b=c#mirrorblocked']);
  assert.deepEqual(await urls('http://wiki/alerts/'), ['http://wiki/alerts/mirrorblocked']);
  assert.doesNotMatch(await generate('rules', '--runbook-base', 'http://wiki/alerts/'), /file:/);
});

test('what is no address of a page is refused', async () => {
  const bad = ['runbook.md', '/usr/share', 'ftp://h/x', 'https://h/#x', 'https://h/{{ .x }}', 'http://h/x: y', ''];
  for (const base of bad)
    await assert.rejects(generate('rules', '--runbook-base', base), UsageError, JSON.stringify(base));
  await assert.rejects(generate('everything'), UsageError);
});
