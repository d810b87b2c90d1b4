/** What the documents say can be done: a new operator follows the README, and every command of every document is one that there is. */
import assert from 'node:assert/strict';
import { globSync } from 'node:fs';
import test from 'node:test';
import { readArgs, readSubcommand } from '../../src/cli/arguments.ts';
import { specs } from '../../src/cli/specs/all.ts';
import { commandsOf, repository } from '../support/documents.ts';
import { notRun, Operator } from '../support/operator.ts';
import { ScratchHost } from '../support/scratch-host.ts';

const documents = ['README.md', ...globSync('config/docs/*.md', { cwd: repository }).sort()];

test('a new operator who follows the README has a primary and a real rrsync mirror in step', async (t) => {
  const host = await ScratchHost.create(t);
  if (host === null) return;
  const operator = new Operator(host);
  await operator.prepare();
  await t.test('every command of the README', () => operator.readme());
  await t.test('run again, init changes nothing', () => operator.again());
  await t.test('nginx takes the piece for the public status page', async () => {
    await operator.ok(`{ echo 'server { listen 80; server_name status.example.org;'
      cat /usr/lib/lockstepd/config/nginx/status.conf
      echo '}'; } > /etc/nginx/conf.d/status.conf
      nginx -t`);
  });
  await t.test('every command of the facts for volunteers', () => operator.follow('config/docs/volunteers.md'));
});

test('every lockstepd command of every document is one that there is', () => {
  const all = documents.flatMap(commandsOf);
  assert.ok(all.length > 40);
  for (const { place, text } of all) {
    for (const part of text.split(/ && | \| |; /)) {
      const [program, name, ...args] = words(part.replace(/^setpriv .* lockstepd /, 'lockstepd '));
      if (program !== 'lockstepd' || name === undefined || name.startsWith('--') || args.includes('--help')) continue;
      const spec = specs.find((one) => one.name === name);
      assert.ok(spec !== undefined, `${place}: ${text}: no such command`);
      const read = (): unknown => (spec.subcommands === undefined ? readArgs(spec, args) : readSubcommand(spec, args));
      assert.doesNotThrow(read, `${place}: ${text}`);
    }
  }
});

test('what is not run has a reason, and is there', () => {
  const all = documents.flatMap(commandsOf);
  const followed = ['README.md', 'config/docs/guide.md', 'config/docs/volunteers.md'];
  for (const { place, text } of documents.filter((file) => !followed.includes(file)).flatMap(commandsOf))
    assert.ok(
      notRun.some(({ match }) => match.test(text)),
      `${place}: ${text}: nobody runs it`,
    );
  for (const { match, why } of notRun) assert.ok(all.some(({ text }) => match.test(text)) && why !== '', `${match}`);
});

/** Words as a shell parts them, where quotes are the only special characters. */
function words(text: string): string[] {
  return [...text.trim().matchAll(/(?:'[^']*'|"[^"]*"|[^\s'"])+/g)].map(([word]) => word.replaceAll(/['"]/g, ''));
}
