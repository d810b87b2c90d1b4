import assert from 'node:assert/strict';
import test from 'node:test';
import { toGuards } from '../../src/config/guards-schema.ts';
import type { InboxConfig } from '../../src/config/schema.ts';
import { parseTemplate } from '../../src/config/template.ts';
import type { Survey, SurveyProblem } from '../../src/ingest/indexes.ts';
import { VanishedIndexes } from '../../src/ingest/vanished.ts';
import { PublishWorld } from '../publish/world.ts';
import { temporaryDirectory } from '../support/apk.ts';

test('only what was looked for in the same inbox and is not there has vanished', async (t) => {
  const world = new PublishWorld(temporaryDirectory(t));
  t.after(async () => {
    await world.publisher.stop();
    world[Symbol.dispose]();
  });
  await world.publisher.recover();
  await world.publish({ 'main/x86_64': { 'a@1': 'A' }, 'old/x86_64': { 'b@1': 'B' } });
  const template = parseTemplate('*/{arch}');
  assert.ok('value' in template);
  const guards = toGuards({ may_vanish: [template.value] }, {});
  const inbox = { builder: 'b', repositories: [template.value], approval: 'if-held', guards } as unknown as InboxConfig;
  const others = new Set<string>();
  const vanished = new VanishedIndexes(inbox, { store: world.store, isOfAnother: (path) => others.has(path) });
  const survey = (repositories: readonly string[], problems: readonly SurveyProblem[] = []): Survey => ({
    indexes: repositories.map((repository) => ({
      repository,
      path: `${repository}/APKINDEX.tar.gz`,
      arch: 'x86_64',
      fileName: 'APKINDEX.tar.gz',
      seen: { kind: 'file', stat: 's', size: 1, onDisk: 1 },
    })),
    problems,
    absent: [],
    watchable: [],
  });
  const open = (): string[] => vanished.assess().map((a) => `${a.index} ${a.kind}`);
  const [main, old] = ['main/x86_64/APKINDEX.tar.gz leaving', 'old/x86_64/APKINDEX.tar.gz leaving'];

  assert.equal(vanished.look('1:1', survey([])), false);
  assert.deepEqual(open(), [], 'an inbox in which nothing was ever seen');
  vanished.look('1:1', survey(['main/x86_64', 'old/x86_64']));
  assert.deepEqual(open(), []);
  assert.equal(vanished.look('1:1', survey(['main/x86_64'])), true);
  assert.deepEqual(open(), [old]);
  assert.equal(vanished.look('1:1', survey(['main/x86_64'])), false);
  const problem = { code: 'QUOTA', path: '*/{arch}', detail: 'too many directories' } as const;
  vanished.look('1:1', survey(['main/x86_64'], [{ ...problem, held: true }]));
  assert.deepEqual(open(), [], 'a part of the inbox was not looked at');
  vanished.look('1:1', survey(['main/x86_64'], [{ ...problem, held: false }]));
  assert.deepEqual(open(), [old]);
  others.add('old/x86_64');
  vanished.look('1:1', survey(['main/x86_64']));
  assert.deepEqual(open(), [], 'it is of another inbox now');
  others.clear();
  vanished.look('2:7', survey([]));
  assert.deepEqual(open(), [], 'another directory is in the place of the inbox');
  vanished.look('1:1', survey([]));
  assert.deepEqual(open(), [main, old]);
  vanished.forget();
  vanished.look('1:1', survey([]));
  assert.deepEqual(open(), []);
});
