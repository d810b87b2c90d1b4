import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { graceMs, PublishWorld } from './world.ts';

const main = 'main/x86_64';

test('a dry run of prune tells for each mirror what goes, what stays and why, and how much; then just that goes', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'lockstepd-forecast-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  using world = new PublishWorld(directory);
  world.mirrors = ['near', 'behind', 'new'];
  await world.publisher.recover();
  for (const name of ['near', 'behind', 'new']) world.store.mirrors.open(name, name);
  await world.publish({ [main]: { 'a@1': 'one', 'b@1': 'bb', 'c@1': 'c' } });
  for (const name of ['near', 'behind']) world.store.mirrors.confirm(name, 1, world.clock.nowMs);
  world.clock.nowMs += 1000;
  await world.publish({ [main]: { 'b@1': 'bb', 'c@1': 'c', 'd@1': 'short-lived' } });
  world.clock.nowMs += 1000;
  await world.publish({ [main]: { 'c@1': 'c' } });
  world.store.mirrors.confirm('near', 3, world.clock.nowMs);
  world.clock.nowMs += graceMs + 1;

  const forecast = await world.publisher.forecastPrune(10);
  const of = (name: string) => forecast.mirrors.find((m) => m.name === name) ?? assert.fail(name);
  const short = ({ files, bytes, first }: (typeof forecast)['due']): unknown => [
    files,
    bytes,
    first.map((p) => p.path),
  ];
  const [a, b, d] = ['a', 'b', 'd'].map((name) => `${main}/${name}-1.apk`);
  assert.deepEqual(short(of('near').due), [3, 3 + 2 + 11, [a, b, d]]);
  assert.deepEqual(short(of('near').waits), [0, 0, []]);
  assert.deepEqual(of('near').keepsHere, { files: 0, bytes: 0 });
  // It serves generation 1, which names a and b, and never had d.
  assert.equal(of('behind').serves, 1);
  assert.deepEqual(short(of('behind').due), [0, 0, []]);
  assert.deepEqual(short(of('behind').waits), [2, 5, [a, b]]);
  assert.deepEqual(of('behind').keepsHere, { files: 3, bytes: 16 });
  assert.equal(of('new').serves, null);
  assert.deepEqual(short(forecast.due), [0, 0, []]);
  assert.deepEqual(forecast.heldBack.files, 3);
  await world.publisher.stop();
});
