import assert from 'node:assert/strict';
import test from 'node:test';
import { race } from './race.ts';

test('nothing from outside of the inbox gets in while its directories turn into symlinks and back', {
  timeout: 600_000,
}, async (t) => {
  const { flips, escapes, generations, searched } = await race(4);
  t.diagnostic(`${flips} flips, ${generations} generations, ${searched} files searched`);
  assert.deepEqual(escapes, []);
  assert.ok(flips > 1000 && generations > 0 && searched > 5);
});
