import assert from 'node:assert/strict';
import test from 'node:test';
import { missingProgram } from '../support/sshd.ts';
import { FaultHarness } from './harness.ts';
import { canStrike, choose, type Fault, findHit, parsePoints, type Point } from './points.ts';
import { random } from './random.ts';
import type { SceneName } from './scenes.ts';
import { findBroken, variants } from './teeth.ts';

const missing = missingProgram('strace');
const skip = missing === undefined ? false : `${missing} is absent: run .ci/setup --tests`;
const seed = 20261122;

/** A few of the points that `npm run fault:kill` goes through, those that were wrong once or matter most among them. */
const samples: readonly { scene: SceneName; fault: Fault; always?: (point: Point) => boolean; also: number }[] = [
  { scene: 'publish', fault: 'KILL', always: ({ call }) => call === 'symlink', also: 1 },
  { scene: 'recover-switch', fault: 'KILL', also: 1 },
  // One copy of several that finds the disk full: the batch waits, it is not published without it.
  { scene: 'publish', fault: 'ENOSPC', always: ({ creates, path }) => creates && /bpo\/\d+\.apk/.test(path), also: 0 },
  // A page of the state that cannot be read is no damaged state.
  {
    scene: 'recover-switch',
    fault: 'EIO',
    always: ({ nth, call, path }) => call === 'pread64' && path.endsWith('state.db') && nth > 30,
    also: 0,
  },
  { scene: 'publish', fault: 'EIO', also: 2 },
  { scene: 'publish', fault: 'EMFILE', also: 1 },
  { scene: 'prune', fault: 'EIO', also: 1 },
  { scene: 'rollback', fault: 'KILL', also: 1 },
  { scene: 'rebuild', fault: 'EIO', also: 1 },
  { scene: 'mend', fault: 'KILL', also: 1 },
  { scene: 'adopt', fault: 'KILL', also: 1 },
];

test('killed or failing at a system call, the old state or the new one is served, and the next start finishes the work', {
  skip,
  timeout: 1_200_000,
}, async (t) => {
  await using harness = await FaultHarness.create();
  const next = random(seed);
  const known = new Map<SceneName, Point[]>();
  let fired = 0;
  let runs = 0;
  for (const { scene, fault, always, also } of samples) {
    const all = (known.get(scene) ?? (await harness.points(scene))).filter((point) => canStrike(fault, point));
    known.set(scene, known.get(scene) ?? (await harness.points(scene)));
    assert.ok(all.length > 1, `${scene} ${fault}: ${all.length} points`);
    const sure = always === undefined ? [] : all.filter(always).slice(0, 1);
    for (const point of [...sure, ...choose(all, also, next)]) {
      const outcome = await harness.run(scene, point, fault);
      assert.deepEqual(outcome.violations, [], `${scene} ${fault} ${JSON.stringify(point)}`);
      runs++;
      if (outcome.fired) fired++;
    }
  }
  t.diagnostic(`${fired} of ${runs} points reached, seed ${seed}`);
  assert.ok(fired >= runs - 1);
});

for (const variant of variants) {
  test(`teeth: ${variant.name}: found out`, { skip, timeout: 600_000 }, async () => {
    assert.notDeepEqual(await findBroken(variant), []);
  });
}

test('points are the calls on files of ours, counted as strace counts them', () => {
  const text = [
    '7 write(12<anon_inode:[eventfd]>, "1", 8) = 8',
    '7 write(13</b/run-1/srv/x.tmp>, "data", 4) = 4',
    '8 pwrite64(5</b/run-1/state/state.db-wal>, "f"..., 24, 0 <unfinished ...>',
    '8 <... pwrite64 resumed>) = 24',
    '8 fdatasync(5</b/run-1/state/state.db-wal>) = 0',
    '8 fdatasync(5</b/run-1/state/state.db-wal>) = 0',
    '9 unlink("/b/run-1/srv/y") = 0',
  ].join('\n');
  const threads = new Map([
    ['7', 'libuv-worker'],
    ['8', 'MainThread'],
  ]);
  const points = parsePoints(text, threads, '/b');
  assert.deepEqual(
    points.map(({ call, nth, ofOurs, path, redundant }) => [call, nth, ofOurs, path, redundant]),
    [
      ['write', 2, 1, '/srv/x.tmp', false],
      ['pwrite64', 1, 1, '/state/state.db-wal', false],
      ['fdatasync', 1, 1, '/state/state.db-wal', false],
      ['fdatasync', 2, 2, '/state/state.db-wal', true],
    ],
  );
  const [write] = points;
  assert.ok(write);
  const log =
    'write(12<anon_inode:[eventfd]>, "1", 8) = 8\nwrite(12<anon_inode:[eventfd]>, "1", 8) = -1 EIO (INJECTED)\nwrite(13</b/run-2/srv/x.tmp>, "data", 4) = 4\n';
  assert.deepEqual(findHit(log, write, '/b'), { hit: 2, hitOurs: false, wanted: 3 });
});
