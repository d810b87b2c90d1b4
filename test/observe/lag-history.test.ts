import assert from 'node:assert/strict';
import test from 'node:test';
import { LagHistory, lagRanges, lagToKeep } from '../../src/observe/lag-history.ts';
import { mirrorFacts, nowMs } from './facts.ts';

const minuteMs = 60_000;
const [day, week] = lagRanges(nowMs).map(({ last }) => last * 1000);
assert.ok(day !== undefined && week !== undefined);

test('the largest lag of each quarter of an hour is kept for a day, of each two hours for a week', () => {
  const history = new LagHistory([]);
  history.note('paris', 300, day - 15 * minuteMs);
  history.note('paris', 40, day - 14 * minuteMs);
  history.note('paris', 0, day);
  history.note('rome', 7, day);
  const [paris, rome] = history.series(['paris', 'rome'], day);
  assert.deepEqual([paris?.mirror, paris?.day.length, paris?.week.length], ['paris', 96, 84]);
  assert.deepEqual(paris?.day.slice(-3), [null, 300, 0]);
  assert.deepEqual(rome?.day.slice(-2), [null, 7]);
  assert.equal(Math.max(...paris.week.map(Number)), 300);
});

test('a piece of time moves to the left as time goes, and out of the day but not of the week', () => {
  const history = new LagHistory([]);
  history.note('paris', 60, day);
  const at = (hours: number): readonly (readonly (number | null)[] | undefined)[] => {
    const [series] = history.series(['paris'], day + hours * 60 * minuteMs);
    return [series?.day, series?.week];
  };
  assert.equal(at(1)[0]?.at(-5), 60);
  assert.equal(at(23.75)[0]?.[0], 60);
  assert.deepEqual(at(24)[0], Array(96).fill(null));
  assert.equal(at(24)[1]?.at(-13), 60);
  assert.deepEqual(at(24 * 8)[1], Array(84).fill(null));
});

test('of a mirror of which nothing is known each number is null', () => {
  assert.deepEqual(new LagHistory([]).series(['new'], nowMs), [
    { mirror: 'new', day: Array(96).fill(null), week: Array(84).fill(null) },
  ]);
});

test('what was saved gives the same series after a restart, and only what rose is saved again', () => {
  const history = new LagHistory([]);
  history.note('paris', 60, day);
  assert.equal(history.unsaved.length, 2);
  const again = new LagHistory(history.unsaved);
  assert.deepEqual(again.series(['paris'], day), history.series(['paris'], day));
  history.saved();
  history.note('paris', 50, day + minuteMs);
  assert.deepEqual(history.unsaved, []);
  history.note('paris', 61, day + minuteMs);
  assert.deepEqual(
    history.unsaved.map(({ span, lag }) => [span, lag]),
    [
      [900, 61],
      [7200, 61],
    ],
  );
});

test('what is too old is forgotten, and what lies ahead of a clock that was set back', () => {
  const history = new LagHistory([]);
  history.note('paris', 60, day);
  history.forget(day + 8 * 24 * 60 * minuteMs);
  assert.deepEqual(history.unsaved, []);
  history.note('paris', 60, day + 365 * 24 * 60 * minuteMs);
  history.forget(day);
  assert.deepEqual(history.unsaved, []);
  assert.deepEqual(history.series(['paris'], day + 365 * 24 * 60 * minuteMs)[0]?.day.at(-1), null);
});

test('what users see counts; what was pushed only while a mirror was never probed; unknown content has no lag', () => {
  const behind = { observedMissingSinceMs: nowMs - 90_000, pushedMissingSinceMs: nowMs - 5000 };
  assert.equal(lagToKeep(mirrorFacts(behind), nowMs), 90);
  assert.equal(lagToKeep(mirrorFacts({ ...behind, observedAtMs: null, observedGeneration: null }), nowMs), 5);
  assert.equal(
    lagToKeep(mirrorFacts({ ...behind, observedGeneration: null, observedUnknownContent: true }), nowMs),
    null,
  );
  assert.equal(lagToKeep(mirrorFacts({ observedAtMs: null, observedGeneration: null, generation: null }), nowMs), null);
  const unanswered = { seconds: 3600, detail: 'ECONNREFUSED' };
  assert.equal(lagToKeep(mirrorFacts({ unanswered }), nowMs), null, 'nobody knows what it serves by now');
  assert.equal(lagToKeep(mirrorFacts({ ...behind, unanswered }), nowMs), 90, 'what it lacked it lacks still');
});
