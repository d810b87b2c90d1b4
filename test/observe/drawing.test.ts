import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { sparklinePath, worstLag } from '../../src/observe/sparkline.ts';
import { secondsUntil, spreadOf } from '../../src/observe/spread.ts';
import { fleetFacts } from './fleet-facts.ts';
import { nowMs } from './facts.ts';

test('a line has one step for each piece, as high as its worst, and a gap where nothing is known', () => {
  assert.equal(sparklinePath([0, 0, 0, 0, 0, 0], 3, 2), 'M0 14h4');
  assert.equal(sparklinePath([0, 86_400, 0, 0, 0, 0], 3, 2), 'M0 1h2V14h2');
  assert.equal(sparklinePath([null, null, 0, null, 60, null], 1, 2), 'M4 14h2M8 13h2');
  assert.equal(sparklinePath([null, null], 1, 2), '');
  assert.equal(sparklinePath([], 1, 2), '');
});

test('any lag is drawn within the drawing, a longer one never lower, in bounded space', () => {
  const lag = fc.option(fc.double({ min: 0, max: 1e9, noNaN: true }), { nil: null });
  fc.assert(
    fc.property(fc.array(lag, { maxLength: 96 }), fc.integer({ min: 1, max: 12 }), (lags, pieces) => {
      const path = sparklinePath(lags, pieces, 2);
      assert.ok(path.length <= Math.ceil(lags.length / pieces) * 9);
      const heights = [...path.matchAll(/(?:M\d+ |V)(\d+)/g)].map((m) => Number(m[1]));
      assert.ok(
        heights.every((y) => y >= 1 && y <= 14),
        path,
      );
      assert.equal(path === '', worstLag(lags) === null);
    }),
  );
  const y = (seconds: number): number => Number(/M0 (\d+)/.exec(sparklinePath([seconds], 1, 2))?.[1]);
  const spans = [0, 1, 60, 900, 3600, 20_000, 86_400, 1e9];
  assert.deepEqual(
    spans.map(y),
    spans.map(y).toSorted((a, b) => b - a),
  );
  assert.ok(y(1) < y(0), 'a second is more than nothing');
});

test('how a generation spread: soonest first, those without it apart, shares of all that take it', () => {
  const [generation] = fleetFacts(3, nowMs).history.propagation;
  assert.ok(generation);
  const at = (seconds: number): string => new Date(Date.parse(generation.published_at) + seconds * 1000).toISOString();
  const none = { takes: true, confirmed_at: null, observed_at: null };
  const spread = spreadOf({
    ...generation,
    mirrors: [
      { name: 'slow', takes: true, confirmed_at: at(90), observed_at: at(100) },
      { name: 'pulls', takes: true, confirmed_at: null, observed_at: at(40) },
      { name: 'fast', takes: true, confirmed_at: at(2), observed_at: null },
      { name: 'away', ...none },
      { name: 'other-part', ...none, takes: false },
    ],
  });
  assert.deepEqual(spread, {
    of: 4,
    reached: [
      { name: 'fast', seconds: 2, seenSeconds: null },
      { name: 'pulls', seconds: 40, seenSeconds: 40 },
      { name: 'slow', seconds: 90, seenSeconds: 100 },
    ],
    missing: ['away'],
  });
  assert.deepEqual(
    [0.25, 0.5, 0.75, 0.76, 1].map((share) => secondsUntil(spread, share)),
    [2, 40, 90, null, null],
  );
});
