import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import type { StoredFile } from '../../src/store/stories.ts';
import { PublishWorld } from '../publish/world.ts';
import { temporaryDirectory } from '../support/apk.ts';

async function world(t: TestContext): Promise<PublishWorld> {
  const made = new PublishWorld(temporaryDirectory(t));
  t.after(() => made[Symbol.dispose]());
  await made.publisher.recover();
  await made.publish({ 'main/x86_64': { 'a@1-r0': 'a1', 'ab@1-r0': 'b1' }, 'main/aarch64': { 'a@1-r0': 'A1' } });
  await made.publish({ 'main/x86_64': { 'a@2-r0': 'a22', 'ab@1-r0': 'b1' } });
  return made;
}

const told = (files: readonly StoredFile[]): unknown[] =>
  files.map((f) => [`${f.repository}/${f.file}`, f.added, f.removed]);

test('files are found by the name of the package, of the file, with or without .apk, and by their path, newest first', async (t) => {
  const { stories } = (await world(t)).store;
  const find = (repository: string | null, name: string): unknown[] =>
    told(stories.files({ repository, name }, 2, 10).files);
  const [a2, a1, arm] = [
    ['main/x86_64/a-2-r0.apk', 2, null],
    ['main/x86_64/a-1-r0.apk', 1, 2],
    ['main/aarch64/a-1-r0.apk', 1, null],
  ];
  assert.deepEqual(find(null, 'a')[0], a2);
  assert.deepEqual(new Set(find(null, 'a')), new Set([a2, a1, arm]));
  assert.deepEqual(new Set(find(null, 'a-1-r0')), new Set([a1, arm]));
  assert.deepEqual(find(null, 'a-2-r0.apk'), [a2]);
  assert.deepEqual(find('main/x86_64', 'a'), [a2, a1]);
  assert.deepEqual(find('main/aarch64', 'a-1-r0.apk'), [arm]);
  assert.deepEqual(find('main/x86_64', 'APKINDEX.tar.gz'), [
    ['main/x86_64/APKINDEX.tar.gz', 2, null],
    ['main/x86_64/APKINDEX.tar.gz', 1, 2],
  ]);
  assert.deepEqual([find(null, 'none'), find('none', 'a'), find(null, '%')], [[], [], []]);
});

test('at most so many are told of all that there are', async (t) => {
  const { stories } = (await world(t)).store;
  const { files, total } = stories.files({ repository: null, name: 'a' }, 2, 1);
  assert.deepEqual([told(files), total], [[['main/x86_64/a-2-r0.apk', 2, null]], 3]);
});

test('a generation that is not out yet changes nothing', async (t) => {
  const { stories } = (await world(t)).store;
  const { files, total } = stories.files({ repository: 'main/x86_64', name: 'a' }, 1, 10);
  assert.deepEqual([told(files), total], [[['main/x86_64/a-1-r0.apk', 1, null]], 1]);
});

test('names that begin alike are suggested', async (t) => {
  const { stories } = (await world(t)).store;
  assert.deepEqual([stories.similar('a'), stories.similar('ab'), stories.similar('b')], [['a', 'ab'], ['ab'], []]);
});

test('batches that are not published are found by what a reason names', async (t) => {
  const { store, clock } = await world(t);
  const reason = { code: 'INCOMPLETE', path: 'main/x86_64/q"uote-1-r0.apk', detail: 'x' } as const;
  const batch = { builder: 'b', updatedAtMs: clock.nowMs, repositories: [], reasons: [reason] };
  const { id } = store.batches.record({ ...batch, key: 'k', state: 'held' });
  assert.deepEqual(
    store.stories.unpublishedWith('q"uote').map((b) => [b.id, b.state, b.superseded]),
    [[id, 'held', false]],
  );
  assert.deepEqual(store.stories.unpublishedWith('other'), []);
  assert.equal(store.stories.unpublished().length, 1);
});
