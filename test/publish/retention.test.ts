import assert from 'node:assert/strict';
import test from 'node:test';
import { oldestServed, planKeptIndexes, pruneLimit } from '../../src/publish/retention.ts';
import { planRollback } from '../../src/publish/rollback-plan.ts';
import type { IndexRow } from '../../src/store/generations.ts';

test('what is pruned waits for its grace, then for mirrors that are behind, and for none of them too long', () => {
  const times = { nowMs: 10_000, graceMs: 1000, keepForMirrorsMs: 5000 };
  const mirror = (name: string, serves: number | null, limitMs: number | null) => ({ name, serves, limitMs });
  const table: [string, ReturnType<typeof mirror>[], number, string[]][] = [
    ['no mirrors', [], 9000, []],
    ['in step', [mirror('a', 7, null)], 9000, []],
    ['never fed', [mirror('a', null, null)], 9000, []],
    ['behind, within the grace', [mirror('a', 6, 9500)], 9000, []],
    ['behind', [mirror('a', 6, 7000)], 7000, ['a']],
    ['the one that is furthest behind counts', [mirror('a', 6, 7000), mirror('b', 5, 6000)], 6000, ['a', 'b']],
    ['dead for too long', [mirror('a', 2, 100)], 5000, ['a']],
  ];
  for (const [what, mirrors, untilMs, heldBy] of table) {
    const limit = pruneLimit({ ...times, mirrors });
    assert.deepEqual([limit.untilMs, limit.heldBy.map((m) => m.name)], [untilMs, heldBy], what);
    assert.equal(limit.graceEndMs, 9000);
  }
  const short = pruneLimit({ ...times, keepForMirrorsMs: 0, mirrors: [mirror('a', 2, 100)] });
  assert.equal(short.untilMs, 9000, 'never before the grace is over');
});

test('a mirror counts by the older of what was brought there and what is seen there, one that pulls by what is seen', () => {
  assert.equal(oldestServed({ serves: 7, observed: null }), 7);
  assert.equal(oldestServed({ serves: 7, observed: 5 }), 5);
  assert.equal(oldestServed({ serves: null, observed: 5 }), 5);
  assert.equal(oldestServed({ serves: null, observed: 0 }), null, 'it serves nothing yet');
  assert.equal(oldestServed({ serves: null, observed: null }), null);
});

test('kept indexes: every served one, and the newest of the others that fit', () => {
  const served = { sha256: 'served', size: 900, until: null };
  const old = [7, 6, 5].map((until) => ({ sha256: `until ${until}`, size: 100, until }));
  const kept = (bytes: number): string[] => [...planKeptIndexes([served, ...old], bytes)];
  assert.deepEqual(kept(0), ['served']);
  assert.deepEqual(kept(250), ['served', 'until 7', 'until 6']);
  assert.deepEqual(kept(300), ['served', 'until 7', 'until 6', 'until 5']);
});

test('a rollback brings back what differs and lets go what was not there', () => {
  const row = (path: string, sha256: string, file: IndexRow['file'] = 'APKINDEX.tar.gz') =>
    ({ repository: path, file, sha256 }) as IndexRow;
  const plan = (then: IndexRow[], now: IndexRow[], repository: string | null = null) => {
    const { back, leave } = planRollback(then, now, repository);
    return {
      back: back.map(({ index, now: served }) => `${index.repository} ${served?.sha256 ?? 'none'} to ${index.sha256}`),
      leave: leave.map((index) => `${index.repository}/${index.file}`),
    };
  };
  const then = [row('a', '1'), row('b', '1'), row('gone', '1')];
  const now = [row('a', '2'), row('b', '1'), row('new', '1'), row('b', '9', 'Packages.adb')];
  assert.deepEqual(plan(then, now), {
    back: ['a 2 to 1', 'gone none to 1'],
    leave: ['new/APKINDEX.tar.gz', 'b/Packages.adb'],
  });
  assert.deepEqual(plan(then, now, 'a'), { back: ['a 2 to 1'], leave: [] });
  assert.deepEqual(plan(then, now, 'new'), { back: [], leave: ['new/APKINDEX.tar.gz'] });
  assert.deepEqual(plan(now, now), { back: [], leave: [] });
});
