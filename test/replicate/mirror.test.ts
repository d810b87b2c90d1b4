import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { delayMs, type Failure, lastFailureOf, type MirrorPhase, nextPhase } from '../../src/replicate/mirror.ts';

const failure = (kind: Failure['kind']): Failure => ({ kind, reason: 'refused', message: 'no' });
const fail = (state: MirrorPhase, kind: Failure['kind'], nowMs = 0): MirrorPhase =>
  nextPhase(state, { kind: 'failed', failure: failure(kind), nowMs, random: 0.5 });

test('a success forgets every failure', () => {
  const failed = fail(fail({ phase: 'idle' }, 'retryable'), 'retryable');
  assert.deepEqual(nextPhase(failed, { kind: 'succeeded' }), { phase: 'idle' });
});

test('transient failures wait, others are blocked until a person or a cheap new try', () => {
  const phases = (['retryable', 'busy', 'permanent', 'security'] as const).map(
    (kind) => fail({ phase: 'idle' }, kind).phase,
  );
  assert.deepEqual(phases, ['waiting', 'waiting', 'blocked', 'blocked']);
});

test('while a push runs the last failure is still told', () => {
  const pushing = nextPhase(fail({ phase: 'idle' }, 'permanent'), { kind: 'started' });
  assert.equal(pushing.phase, 'pushing');
  assert.equal(lastFailureOf(pushing)?.message, 'no');
  const again = fail(pushing, 'permanent', 1000);
  assert.ok(again.phase === 'blocked' && again.failures === 2 && again.untilMs > 1000);
});

test('delays grow with failures up to a cap, and are spread over the whole step', () => {
  const kinds = fc.constantFrom<Failure['kind']>('retryable', 'busy', 'permanent', 'security');
  fc.assert(
    fc.property(
      kinds,
      fc.integer({ min: 1, max: 500 }),
      fc.double({ min: 0, max: 0.999, noNaN: true }),
      (kind, failures, random) => {
        const delay = delayMs(kind, failures, random);
        assert.ok(delay > 0 && delay <= 3_600_000);
        assert.ok(delayMs(kind, failures + 1, random) >= delay);
        assert.ok(delayMs(kind, failures, 0) < delayMs(kind, failures, 0.99));
      },
    ),
  );
  assert.ok(delayMs('retryable', 100, 0.99) <= 15 * 60_000);
});

test('what a try failed of is told while the push tries again', () => {
  const pushing = nextPhase({ phase: 'idle' }, { kind: 'started' });
  const again = nextPhase(pushing, { kind: 'retried', failure: failure('retryable') });
  assert.deepEqual([again.phase, lastFailureOf(again)?.message], ['pushing', 'no']);
  assert.deepEqual(nextPhase(again, { kind: 'succeeded' }), { phase: 'idle' });
});
