import assert from 'node:assert/strict';
import test from 'node:test';
import { arrivalGoalMs, arrivalOf, isHealthy } from '../../src/observe/arrivals.ts';
import { mirrorFacts } from './facts.ts';

const published = { generation: 7, publishedAtMs: 1_000_000 };
const at = (afterMs: number, held: number | null, unhealthyAtMs: number | null = null) =>
  arrivalOf(published, { held, unhealthyAtMs, nowMs: published.publishedAtMs + afterMs });

test('a generation is in time up to fifteen minutes, and then late whether it came or not', () => {
  assert.equal(at(0, 7), 'in_time');
  assert.equal(at(arrivalGoalMs, 9), 'in_time');
  assert.equal(at(arrivalGoalMs, 6), null);
  assert.equal(at(arrivalGoalMs, null), null);
  assert.equal(at(arrivalGoalMs + 1, 6), 'late');
  assert.equal(at(arrivalGoalMs + 1, 7), 'late');
  assert.equal(at(arrivalGoalMs + 1, null), 'late');
});

test('only a mirror that was not healthy since the generation came out is excused', () => {
  const lateMs = arrivalGoalMs + 1;
  assert.equal(at(lateMs, 6, published.publishedAtMs - 1), 'late');
  assert.equal(at(lateMs, 6, published.publishedAtMs), 'excused');
  assert.equal(at(10, 7, published.publishedAtMs + 5), 'in_time', 'what came in time needs no excuse');
});

test('a mirror is healthy that answers, that nobody took out and that was filled before', () => {
  assert.equal(isHealthy(mirrorFacts({ state: 'behind' })), true);
  assert.equal(isHealthy(mirrorFacts({ state: 'waiting', waitsFor: 'back-off' })), true);
  for (const by of ['operator', 'permanent', 'security'] as const)
    assert.equal(isHealthy(mirrorFacts({ blockedBy: by })), false, by);
  for (const breaker of ['open', 'half-open'] as const) assert.equal(isHealthy(mirrorFacts({ breaker })), false);
  for (const waitsFor of ['quiet', 'standby', 'disk-full'] as const)
    assert.equal(isHealthy(mirrorFacts({ state: 'waiting', waitsFor })), false, waitsFor);
  assert.equal(isHealthy(mirrorFacts({ generation: null })), false, 'its first filling takes as long as it takes');
  // While it pulls, nobody knows what it holds.
  assert.equal(isHealthy(mirrorFacts({ transport: 'trigger', generation: null })), true);
  assert.equal(isHealthy(mirrorFacts({ transport: 'trigger', generation: null, lastSuccessAtMs: null })), false);
});
