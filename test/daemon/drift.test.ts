import assert from 'node:assert/strict';
import test from 'node:test';
import { DriftWatch } from '../../src/daemon/drift.ts';

test('a mirror is looked into when it is seen to lack something twice, and another sight at once', () => {
  const watch = new DriftWatch(1000, 4000);
  const seen = [null, 'old', null, 'old', 'old', 'old', 'other', 'other', null, 'old', 'old'];
  assert.deepEqual(
    seen.map((one, n) => watch.isNew(one, n)),
    [false, false, false, false, true, false, false, true, false, false, true],
  );
});

test('the same sight is looked into more and more rarely, though all was well between; after a long time it is new', () => {
  const watch = new DriftWatch(1000, 4000);
  const looked: number[] = [];
  const flaps = (from: number, to: number): void => {
    for (let at = from; at < to; at += 100) {
      for (const seen of ['old', 'old', null]) if (watch.isNew(seen, at)) looked.push(at);
    }
  };
  flaps(0, 16_000);
  const rests = looked.map((at, n) => at - (looked[n - 1] ?? at));
  assert.deepEqual(rests, [0, 1000, 2000, 4000, 4000, 4000]);
  const last = looked.at(-1) ?? 0;
  looked.length = 0;
  flaps(last + 9000, last + 11_000);
  assert.deepEqual(looked, [last + 9000, last + 10_000], 'the first rest is short again');
});
