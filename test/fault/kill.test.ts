import assert from 'node:assert/strict';
import { join } from 'node:path';
import test from 'node:test';
import { missingProgram } from '../support/sshd.ts';
import { choose, type Fault, KillHarness, type Point, type Scene } from './kill.ts';
import { random } from './random.ts';

const missing = missingProgram('strace');
const skip = missing === undefined ? false : `${missing} is absent: run .ci/setup --tests`;
const seed = 20261122;

/** A few of the points that `npm run fault:kill` goes through, the switch of the link always among them. */
async function someOf(harness: KillHarness, scene: Scene, fault: Fault, count: number): Promise<Point[]> {
  const points = await harness.points(scene, fault);
  assert.ok(points.length > 50, `${points.length} points`);
  const symlink = points.filter((point) => point.call === 'symlink').slice(0, 1);
  return [...symlink, ...choose(points, count, random(seed))];
}

test('killed or failing at a system call, the old state or the new one is served, and the next try succeeds', {
  skip,
  timeout: 240_000,
}, async (t) => {
  await using harness = await KillHarness.create();
  for (const [fault, scene] of [
    ['KILL', 'publish'],
    ['KILL', 'recover'],
    ['EIO', 'publish'],
    ['ENOSPC', 'recover'],
  ] as const) {
    const points = await someOf(harness, scene, fault, 1);
    let fired = 0;
    for (const point of points) {
      const outcome = await harness.run(point, fault);
      assert.deepEqual(outcome.violations, [], `${fault} ${JSON.stringify(point)}`);
      if (outcome.fired) fired++;
    }
    t.diagnostic(`${fault} ${scene}: ${fired} of ${points.length} points reached, seed ${seed}`);
    assert.ok(fired > 0);
  }
});

test('teeth: a publisher that changes the served tree in place is found out', { skip, timeout: 120_000 }, async () => {
  await using harness = await KillHarness.create(['--import', join(import.meta.dirname, 'break-publish.ts')]);
  const points = (await harness.points('publish', 'KILL')).filter(
    ({ thread, call }) => thread === 'libuv-worker' && call === 'symlink',
  );
  let violations = 0;
  for (const point of points.slice(0, 2)) {
    violations += (await harness.run(point, 'KILL')).violations.length;
    if (violations > 0) break;
  }
  assert.ok(violations > 0, `${points.length} points and not one violation`);
});
