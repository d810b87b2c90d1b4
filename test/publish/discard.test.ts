import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { inPieces } from '../../src/system/pieces.ts';
import { PublishWorld } from './world.ts';

test('a start does not make a whole large tree: the pending generation is forgotten, its tree put aside and removed later', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'lockstepd-discard-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  using world = new PublishWorld(directory, { keepTreesForMs: 0, maxTrees: 2, linksAtStart: 1 });
  await world.publisher.recover();
  await world.publish({ 'main/x86_64': { 'a@1': 'A', 'b@1': 'B' } });
  await world.publisher.stop();
  const { store, root } = world;
  const change = await world.stage('main/x86_64', { 'a@1': 'A', 'c@1': 'C' });
  const batch = world.batch([change]);
  const index = {
    ...change.index,
    file: 'APKINDEX.tar.gz' as const,
    mtimeSeconds: 1_800_000_000,
    builder: 'b',
    source: change.indexSource,
  };
  const generation = { number: 2, publishedAtMs: world.clock.nowMs, tree: 'b', batch: batch.id, added: 0, removed: 0 };
  await inPieces(store.journal.begin(generation, [{ ...change, index }]));
  store.generations.setTree('b', 0, null);

  await world.restart();
  assert.equal(world.store.journal.pending(), null);
  assert.equal(world.store.generations.current()?.number, 1);
  assert.equal(readFileSync(join(world.public, 'main/x86_64/b-1.apk'), 'utf8'), 'B');
  assert.ok(!existsSync(join(root, 'trees/b')));
  assert.deepEqual(readdirSync(join(root, 'ingest')), ['.discarded-0']);

  await world.restart();
  assert.deepEqual(readdirSync(join(root, 'ingest')), ['.discarded-0'], 'a start does not wait for it');
  await world.publisher.removeDiscarded();
  assert.deepEqual(readdirSync(join(root, 'ingest')), []);
  assert.equal((await world.publish({ 'main/x86_64': { 'a@1': 'A', 'c@1': 'C' } })).number, 2);
});
