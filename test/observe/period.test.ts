import assert from 'node:assert/strict';
import test from 'node:test';
import { array, assert as check, integer, nat, option, property } from 'fast-check';
import { estimateSync } from '../../src/observe/period.ts';

const hour = 3_600_000;

test('three intervals are needed, and their median is the period', () => {
  const at = (...hours: number[]): number[] => hours.map((h) => h * hour);
  const facts = { missingSinceMs: null, nowMs: 8 * hour };
  assert.equal(estimateSync({ ...facts, moments: at(1, 3, 5) }), null);
  assert.deepEqual(estimateSync({ ...facts, moments: at(1, 3, 5, 7) }), {
    periodMs: 2 * hour,
    nextMs: 9 * hour,
    overdue: false,
  });
  // An outage of a day and a pull by hand.
  assert.equal(estimateSync({ ...facts, moments: at(1, 3, 27, 27.1, 29, 31, 33) })?.periodMs, 2 * hour);
});

test('a mirror that lacks nothing is never overdue, however long nothing was published', () => {
  const moments = [1, 2, 3, 4].map((h) => h * hour);
  const quiet = estimateSync({ moments, missingSinceMs: null, nowMs: 1000.5 * hour });
  assert.deepEqual(quiet, { periodMs: hour, nextMs: 1001 * hour, overdue: false });
  // Something is out since then: the next pull is expected within a period, and two later it is overdue.
  const since = 1000.5 * hour;
  assert.deepEqual(estimateSync({ moments, missingSinceMs: since, nowMs: since + 2 * hour }), {
    periodMs: hour,
    nextMs: 1001 * hour,
    overdue: false,
  });
  assert.equal(estimateSync({ moments, missingSinceMs: since, nowMs: since + 2 * hour + 1 })?.overdue, true);
});

test('what lacks something since before the last pull is overdue two periods after that pull', () => {
  const moments = [1, 2, 3, 4].map((h) => h * hour);
  const missingSinceMs = 3.9 * hour;
  assert.deepEqual(estimateSync({ moments, missingSinceMs, nowMs: 6 * hour })?.overdue, false);
  assert.deepEqual(estimateSync({ moments, missingSinceMs, nowMs: 6.1 * hour })?.overdue, true);
  assert.equal(estimateSync({ moments, missingSinceMs, nowMs: 6 * hour })?.nextMs, 5 * hour);
});

test('whatever was seen, the period lies between the shortest and the longest interval, the next pull after the last', () => {
  const gaps = array(integer({ min: 1, max: 10 * hour }), { minLength: 3, maxLength: 19 });
  check(
    property(gaps, option(integer({ min: 0, max: 100 * hour })), nat(100 * hour), (steps, missing, later) => {
      const moments = [hour];
      for (const step of steps) moments.push((moments.at(-1) ?? 0) + step);
      const last = moments.at(-1) ?? 0;
      const found = estimateSync({ moments, missingSinceMs: missing, nowMs: last + later });
      assert.ok(found !== null && found.periodMs >= Math.min(...steps) && found.periodMs <= Math.max(...steps));
      assert.ok(found.nextMs > last);
      if (missing === null) assert.ok(found.nextMs >= last + later && !found.overdue);
    }),
  );
});
