import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import type { IndexFileName } from '../../src/apk/entry.ts';
import { inPieces } from '../../src/system/pieces.ts';
import { temporaryDirectory } from '../support/apk.ts';
import { type Content, graceMs, PublishWorld } from './world.ts';

const repository = 'main/x86_64';

async function start(t: TestContext): Promise<PublishWorld> {
  const world = new PublishWorld(temporaryDirectory(t), { keepTreesForMs: 10_000_000_000, maxTrees: 9 });
  t.after(async () => {
    await world.publisher.stop();
    world[Symbol.dispose]();
  });
  await world.publisher.recover();
  return world;
}

async function publish(world: PublishWorld, indexes: Partial<Record<IndexFileName, Content>>): Promise<void> {
  const changes = [];
  for (const [file, content] of Object.entries(indexes))
    changes.push(await world.stage(repository, content, file as IndexFileName));
  await world.publisher.publish(world.batch(changes));
  for (const { candidate } of changes) await inPieces(world.store.staging.drop(candidate));
}

function packages(world: PublishWorld): string[] {
  const files = Object.keys(world.files()).map((path) => path.slice(path.lastIndexOf('/') + 1));
  return files.filter((name) => name.endsWith('.apk'));
}

test('a file that two indexes name goes when the last of them drops it, and no new tree lacks it before', async (t) => {
  const world = await start(t);
  await publish(world, { 'APKINDEX.tar.gz': { 'a@1': 'A', 'b@1': 'B' } });
  await publish(world, { 'Packages.adb': { 'a@1': 'A', 'c@1': 'C' } });
  assert.deepEqual(packages(world), ['a-1.apk', 'b-1.apk', 'c-1.apk'], 'the first index keeps its packages');
  assert.deepEqual(
    world.store.generations.indexesAt(2).map((index) => [index.file, index.since]),
    [
      ['APKINDEX.tar.gz', 1],
      ['Packages.adb', 2],
    ],
  );

  // The later of the two drops it: the earlier still names it, after the grace period too.
  await publish(world, { 'Packages.adb': { 'c@1': 'C' } });
  world.clock.nowMs += graceMs;
  assert.equal(await world.publisher.prune(), 0);
  for (const { name } of world.store.generations.trees().filter((tree) => tree.name !== world.servedTree)) {
    world.store.generations.setTree(name, 0, null);
    rmSync(join(world.root, 'trees', name), { recursive: true, force: true });
  }
  await publish(world, { 'Packages.adb': { 'c@1': 'C', 'd@1': 'D' } });
  assert.deepEqual(packages(world), ['a-1.apk', 'b-1.apk', 'c-1.apk', 'd-1.apk'], 'a tree made from nothing has it');

  await publish(world, { 'APKINDEX.tar.gz': { 'b@1': 'B' } });
  world.clock.nowMs += graceMs;
  assert.equal(await world.publisher.prune(), 1);
  assert.deepEqual(packages(world), ['b-1.apk', 'c-1.apk', 'd-1.apk']);
});

test('both indexes are one generation and each gets a time later than its last', async (t) => {
  const world = await start(t);
  await publish(world, { 'APKINDEX.tar.gz': { 'a@1': 'A' }, 'packages.adb': { 'b@1': 'B' } });
  assert.equal(world.store.generations.current()?.number, 1);
  const times = (): number[] => ['APKINDEX.tar.gz', 'packages.adb'].map((n) => world.mtime(`${repository}/${n}`));
  const first = times();
  await publish(world, { 'packages.adb': { 'b@2': 'BB' } });
  const second = times();
  assert.ok(second[0] === first[0] && (second[1] ?? 0) > (first[1] ?? 0));
});

test('a name that two indexes give to different bytes is told, published or about to be', async (t) => {
  const world = await start(t);
  const { staging } = world.store;
  await publish(world, { 'APKINDEX.tar.gz': { 'a@1': 'A', 'b@1': 'B' } });
  const same = await world.stage(repository, { 'a@1': 'A' }, 'Packages.adb');
  assert.equal(staging.conflict(same.candidate), null, 'the same bytes');
  const other = await world.stage(repository, { 'a@1': 'other' }, 'packages.adb');
  assert.equal(staging.conflict(other.candidate), 'a-1.apk', 'published by another index');
  assert.equal(staging.conflict(same.candidate), 'a-1.apk', 'about to be published by another index');
  const elsewhere = await world.stage('main/armhf', { 'a@1': 'third' }, 'Packages.adb');
  assert.equal(staging.conflict(elsewhere.candidate), null, 'another directory');
  for (const { candidate } of [other, same]) await inPieces(staging.drop(candidate));
  const leaving = await world.stage(repository, { 'b@1': 'B' });
  const taking = await world.stage(repository, { 'a@1': 'other' }, 'Packages.adb');
  assert.equal(staging.conflict(taking.candidate), null, 'the other index drops it in the same batch');
  assert.equal(staging.conflict(leaving.candidate), null);
  staging.retire(leaving.candidate);
  assert.equal(staging.conflict(taking.candidate), 'a-1.apk', 'what would have dropped it will not be published');
});
