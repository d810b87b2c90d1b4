import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { standingOf } from '../../src/replicate/fellow.ts';
import { nextTakeover, type TakeoverSight } from '../../src/replicate/takeover.ts';

const afterMs = 600_000;
const seen = (missingForMs: number | null, byAnother = true): TakeoverSight => ({ missingForMs, byAnother });
const standby = { takenOverAtMs: null };
const taken = { takenOverAtMs: 1 };

test('up to the time that was given the first primary is left alone, beyond it the mirror is taken over', () => {
  assert.deepEqual(nextTakeover(standby, seen(afterMs), afterMs, 1e12), standby);
  assert.deepEqual(nextTakeover(standby, seen(afterMs + 1), afterMs, 1e12), { takenOverAtMs: 1e12 });
  assert.deepEqual(nextTakeover(standby, seen(null), afterMs, 1e12), standby);
});

test('a probe without an answer changes nothing, however long that lasts', () => {
  for (const state of [standby, taken]) assert.deepEqual(nextTakeover(state, null, afterMs, 1e12), state);
});

test('it stays taken over until somebody else is seen to have pushed and users lack nothing for too long', () => {
  assert.deepEqual(nextTakeover(taken, seen(null, false), afterMs, 1e12), taken);
  assert.deepEqual(nextTakeover(taken, seen(afterMs + 1, true), afterMs, 1e12), taken, 'another one that is as late');
  assert.deepEqual(nextTakeover(taken, seen(null, true), afterMs, 1e12), standby);
});

test('the same sight never moves it twice', () => {
  const sights = fc.record({ missingForMs: fc.option(fc.nat(2_000_000)), byAnother: fc.boolean() });
  fc.assert(
    fc.property(fc.option(fc.nat(1000)), sights, fc.nat(2_000_000), (takenOverAtMs, sight, nowMs) => {
      const once = nextTakeover({ takenOverAtMs }, sight, afterMs, nowMs);
      assert.deepEqual(nextTakeover(once, sight, afterMs, nowMs), once);
    }),
  );
});

test('an index of another primary is placed by what is signed in it', () => {
  const age = (description: string | null, newestBuildTime: number | null) => ({ description, newestBuildTime });
  assert.equal(standingOf(age('main 2026-11-22', 5), age('main 2026-11-21', 9)), 'newer');
  assert.equal(standingOf(age('sample', 5), age('sample', 9)), 'older');
  assert.equal(standingOf(age('sample', 9), age('sample', 9)), 'undated');
  assert.equal(standingOf(age(null, null), age('sample', 9)), 'undated');
  assert.equal(standingOf(age('sample', 1), null), 'newer');
});
