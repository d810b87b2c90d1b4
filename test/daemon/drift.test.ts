import assert from 'node:assert/strict';
import test from 'node:test';
import { DriftWatch } from '../../src/daemon/drift.ts';

test('a mirror is looked into when it is seen to lack something twice, and the same sight not again for an hour', () => {
  const watch = new DriftWatch(1000);
  const seen = [null, 'old', null, 'old', 'old', 'old', 'other', 'other', null, 'old', 'old'];
  assert.deepEqual(
    seen.map((one, n) => watch.isNew(one, n)),
    [false, false, false, false, true, false, false, true, false, false, true],
  );
  assert.equal(watch.isNew('old', 900), false);
  assert.equal(watch.isNew('old', 2000), true);
});
