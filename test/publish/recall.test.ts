import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { TransportError } from '../../src/errors.ts';
import { MirrorRecall } from '../../src/replicate/recall.ts';
import type { Transport } from '../../src/replicate/transport.ts';
import { silentLog } from '../../src/system/log.ts';
import { graceMs, PublishWorld } from './world.ts';
import { removeAtEnd } from '../support/remove-at-end.ts';

async function start(t: TestContext): Promise<PublishWorld> {
  const directory = mkdtempSync(join(tmpdir(), 'lockstepd-recall-'));
  removeAtEnd(t, directory);
  const world = new PublishWorld(directory);
  t.after(() => world[Symbol.dispose]());
  await world.publisher.recover();
  return world;
}

const main = 'main/x86_64';
const by = { asked: 'a', who: 'alice', why: 'leaked', atMs: 1 };

test('a recall that a crash cut off is made good at the next start', async (t) => {
  const world = await start(t);
  await world.publish({ [main]: { 'a@1': 'bad', 'b@1': 'good' } });
  world.store.recalls.add(by, world.store.recalls.find('a', 9));
  assert.ok(`${main}/a-1.apk` in world.files());
  await world.restart();
  assert.ok(!(`${main}/a-1.apk` in world.files()));
  assert.ok(`${main}/b-1.apk` in world.files());
  assert.deepEqual(world.store.recalls.unapplied(), []);
});

test('bytes that were recalled while they waited are not published; the same name with other bytes is', async (t) => {
  const world = await start(t);
  await world.publish({ [main]: { 'a@1': 'bad' } });
  const waiting = await world.stage('other/x86_64', { 'a@1': 'bad' });
  world.store.recalls.add(by, world.store.recalls.find(`${main}/a-1.apk`, 9));
  await world.publisher.recall();
  await assert.rejects(world.publisher.publish(world.batch([waiting])), /recalled since it was verified/);
  assert.equal(world.store.generations.current()?.number, 1);
  await world.publish({ [main]: { 'a@1': 'mended' } });
  assert.equal(world.files()[`${main}/a-1.apk`], 'mended');
});

for (const reason of ['option_refused', 'permission'] as const)
  test(`a mirror loses what was recalled once, not what came under its name since; a refusal (${reason}) is tried again at the next push`, async (t) => {
    const world = await start(t);
    await world.publish({ [main]: { 'a@1': 'bad', 'b@1': 'bad' } });
    world.store.mirrors.open('paris', 'memory');
    const removed: string[] = [];
    let refuse = true;
    const transport = {
      remove: (paths: readonly string[]) => {
        if (refuse) return Promise.reject(new TransportError(reason, 'permanent', 'no'));
        removed.push(...paths);
        return Promise.resolve();
      },
    } as Pick<Transport, 'remove'> as Transport;
    const recall = new MirrorRecall('paris', transport, { store: world.store, log: silentLog });
    const { signal } = new AbortController();
    assert.equal(recall.isDue(), false);
    for (const name of ['a', 'b']) world.store.recalls.add(by, world.store.recalls.find(name, 9));
    await world.publisher.recall();
    await world.publish({ [main]: { 'a@1': 'mended' } });
    assert.equal(recall.isDue(), true);
    await recall.apply(signal);
    assert.equal(recall.isDue(), false, 'a push of its own would only be refused again');
    refuse = false;
    await recall.apply(signal);
    recall.record();
    await recall.apply(signal);
    assert.deepEqual(removed, [`${main}/b-1.apk`]);
  });

test('a mirror that is behind keeps what it names on the primary, until it has moved or for too long', async (t) => {
  const world = await start(t);
  world.mirrors = ['paris'];
  world.store.mirrors.open('paris', 'memory');
  await world.publish({ [main]: { 'a@1': 'one' } });
  world.store.mirrors.confirm('paris', 1, 1);
  // What else it holds is in doubt; what it serves is not.
  world.store.mirrors.doubt('paris');
  world.clock.nowMs += 1000;
  await world.publish({ [main]: { 'a@2': 'two' } });
  world.clock.nowMs += 2 * graceMs;
  const forecast = await world.publisher.forecastPrune(9);
  assert.deepEqual([forecast.due.files, forecast.heldBack.files, forecast.heldBack.bytes], [0, 1, 3]);
  assert.deepEqual(forecast.limit.heldBy, [{ name: 'paris', serves: 1 }]);
  assert.equal(await world.publisher.prune(), 0);
  assert.ok(`${main}/a-1.apk` in world.files());
  world.clock.nowMs += 8 * graceMs;
  assert.equal((await world.publisher.forecastPrune(9)).due.files, 1);
  assert.equal(await world.publisher.prune(), 1);
  assert.ok(!(`${main}/a-1.apk` in world.files()));
});

test('an index is kept as long as its packages, and as many as fit', async (t) => {
  const world = await start(t);
  await world.publish({ [main]: { 'a@1': 'one' } });
  world.clock.nowMs += 1000;
  await world.publish({ [main]: { 'a@2': 'two' } });
  assert.equal((await world.publisher.archive.list()).length, 2);
  world.clock.nowMs += 9 * graceMs;
  await world.publisher.prune();
  assert.equal((await world.publisher.archive.list()).length, 2);
  world.clock.nowMs += 2 * graceMs;
  await world.publisher.prune();
  assert.equal((await world.publisher.archive.list()).length, 1);
});

test('an index that was rolled back from is known as such until a newer one comes', async (t) => {
  const world = await start(t);
  const first = await world.publish({ [main]: { 'a@1': 'one' } });
  await world.publish({ [main]: { 'a@2': 'two' } });
  const sha256 = world.store.generations.indexOf(main, 'APKINDEX.tar.gz')?.sha256 ?? '';
  assert.equal(world.store.rollbacks.awayFrom(main, sha256), null);
  const batch = world.batch([await world.stage(main, { 'a@1': 'one' })]);
  const note = { batch: batch.id, target: first.number, repository: null, who: 'alice', why: 'x', atMs: 1 };
  world.store.rollbacks.add(note);
  await world.publisher.publish(batch);
  assert.deepEqual(world.store.rollbacks.awayFrom(main, sha256), note);
  assert.deepEqual(world.store.rollbacks.of(3), note);
  // Going back further is no newer upload.
  const further = world.batch([await world.stage(main, { 'a@0': 'none' })]);
  world.store.rollbacks.add({ ...note, batch: further.id });
  await world.publisher.publish(further);
  assert.deepEqual(world.store.rollbacks.awayFrom(main, sha256), note);
  await world.publish({ [main]: { 'a@3': 'three' } });
  assert.equal(world.store.rollbacks.awayFrom(main, sha256), null);
});

test('what was pruned here long ago can be recalled from a mirror that was away, and its bytes stay out', async (t) => {
  const world = await start(t);
  await world.publish({ [main]: { 'a@1': 'bad', 'b@1': 'b' } });
  world.store.mirrors.open('paris', 'memory');
  world.clock.nowMs += 1000;
  await world.publish({ [main]: { 'b@1': 'b' } });
  const [grace] = world.store.recalls.find('a', 9);
  assert.deepEqual([grace?.held, grace?.indexes], ['in grace', []]);
  world.clock.nowMs += 20 * graceMs;
  assert.equal(await world.publisher.prune(), 1);
  const [pruned] = world.store.recalls.find('a-1', 9);
  assert.equal(pruned?.held, 'pruned');
  assert.deepEqual(world.store.recalls.find('b', 9)[0]?.held, 'served');
  world.store.recalls.add(by, [pruned]);
  await world.publisher.recall();
  assert.deepEqual([...world.store.recalls.paths(0, world.store.recalls.newest())], [[`${main}/a-1.apk`]]);
  const again = await world.stage(main, { 'a@1': 'bad', 'b@1': 'b' });
  await assert.rejects(world.publisher.publish(world.batch([again])), /recalled since it was verified/);
});
