import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { OperationError } from '../../src/errors.ts';
import type { Generation } from '../../src/store/generations.ts';
import { inPieces } from '../../src/system/pieces.ts';
import { temporaryDirectory } from '../support/apk.ts';
import { expectedFiles, graceMs, PublishWorld } from './world.ts';

const old = { 'main/x86_64': { 'a@1': 'A' }, 'old/x86_64': { 'b@1': 'B', 'c@1': 'C' } };

async function start(t: TestContext): Promise<PublishWorld> {
  const world = new PublishWorld(temporaryDirectory(t));
  await world.publisher.recover();
  t.after(async () => {
    await world.publisher.stop();
    world[Symbol.dispose]();
  });
  await world.publish(old);
  return world;
}

function leave(world: PublishWorld, repository = 'old/x86_64', base = 1): Promise<Generation> {
  return world.publisher.publish(world.batch([], [{ repository, file: 'APKINDEX.tar.gz', base }]));
}

function withoutTrace(files: Record<string, string>): string[] {
  return Object.keys(files).filter((path) => path !== 'lockstep.json');
}

const packages = ['main/x86_64/a-1.apk', 'old/x86_64/b-1.apk', 'old/x86_64/c-1.apk'];

test('a repository that leaves loses its index at once, its packages after the grace period, its directory then', async (t) => {
  const world = await start(t);
  const generation = await leave(world);
  assert.deepEqual([generation.number, generation.added, generation.removed], [2, 0, 2]);
  assert.deepEqual(withoutTrace(world.files()), ['main/x86_64/APKINDEX.tar.gz', ...packages]);
  const trace = JSON.parse(world.files()['lockstep.json'] ?? '');
  assert.deepEqual(
    trace.repositories.map((r: { path: string }) => r.path),
    ['main/x86_64'],
  );
  world.clock.nowMs += graceMs + 1;
  assert.equal(await world.publisher.prune(), 2);
  assert.deepEqual(withoutTrace(world.files()), ['main/x86_64/APKINDEX.tar.gz', 'main/x86_64/a-1.apk']);
  assert.ok(!existsSync(join(world.public, 'old')));
  assert.ok(existsSync(join(world.public, 'main/x86_64')));
});

test('a tree that was left behind catches up with what left, and with what came back', async (t) => {
  const world = await start(t);
  const index = 'old/x86_64/APKINDEX.tar.gz';
  const served: boolean[] = [];
  const note = (): number => served.push(index in world.files());
  await world.publish({ 'main/x86_64': { 'a@2': 'A2' } });
  note();
  await leave(world);
  note();
  for (const n of [3, 4, 5]) {
    await world.publish({ 'main/x86_64': { [`a@${n}`]: `A${n}` } });
    note();
  }
  await world.publish({ 'old/x86_64': old['old/x86_64'] });
  note();
  assert.deepEqual(served, [true, false, false, false, false, true]);
  const files = world.files();
  for (const [path, bytes] of Object.entries(expectedFiles({ 'old/x86_64': old['old/x86_64'] })))
    assert.equal(files[path], bytes, path);
  assert.equal(world.store.generations.firstGenerationOf('old/x86_64', 'APKINDEX.tar.gz'), 7);
  assert.equal(world.store.generations.firstGenerationOf('main/x86_64', 'APKINDEX.tar.gz'), 1);
});

test('a repository that has another index by now does not leave', async (t) => {
  const world = await start(t);
  await world.publish({ 'old/x86_64': { 'b@2': 'B2' } });
  await assert.rejects(leave(world), (error) => error instanceof OperationError && error.code === 'STATE');
  assert.ok('old/x86_64/APKINDEX.tar.gz' in world.files());
  assert.equal(world.store.generations.current()?.number, 2);
});

for (const cut of ['recorded', 'in part'] as const) {
  test(`the power goes while a repository leaves: ${cut}`, async (t) => {
    const world = await start(t);
    await world.publisher.stop();
    const batch = world.batch([], [{ repository: 'old/x86_64', file: 'APKINDEX.tar.gz', base: 1 }]);
    const intent = { number: 2, publishedAtMs: world.clock.nowMs, tree: 'b', batch: batch.id, added: 0, removed: 0 };
    await inPieces(world.store.journal.begin(intent, [], batch));
    if (cut === 'in part') world.store.journal.forget(2).next();
    await world.restart();
    const finished = cut !== 'in part';
    assert.equal(world.store.generations.current()?.number, finished ? 2 : 1);
    assert.equal('old/x86_64/APKINDEX.tar.gz' in world.files(), !finished);
    assert.deepEqual(
      world.store.generations.indexesBy('b').map((row) => row.repository),
      finished ? ['main/x86_64'] : ['main/x86_64', 'old/x86_64'],
    );
    const left = [...world.store.generations.packagesOf('old/x86_64', 9)].flat();
    assert.equal(left.length, finished ? 0 : 2);
    for (const path of packages) assert.ok(path in world.files(), path);
  });
}

test('of two indexes of a repository one may leave: the other keeps what it names', async (t) => {
  const world = await start(t);
  const v3 = await world.stage('old/x86_64', { 'c@1': 'C', 'd@1': 'D' }, 'Packages.adb');
  await world.publisher.publish(world.batch([v3]));
  await leave(world);
  assert.deepEqual(world.store.generations.indexesLeft(null, 3), ['old/x86_64/APKINDEX.tar.gz']);
  world.clock.nowMs += graceMs + 1;
  await world.publisher.prune();
  assert.deepEqual(
    Object.keys(world.files()).filter((path) => path.startsWith('old/')),
    ['old/x86_64/Packages.adb', 'old/x86_64/c-1.apk', 'old/x86_64/d-1.apk'],
  );
});
