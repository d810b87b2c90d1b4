import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import {
  breakerFailures,
  delayMs,
  type Failure,
  paceMs,
  recheckCapMs,
  waitCapMs,
} from '../../src/replicate/backoff.ts';
import {
  blockOf,
  breakerOf,
  initialState,
  type MirrorAction,
  type MirrorEvent,
  type MirrorState,
  next,
  restMs,
} from '../../src/replicate/mirror.ts';
import { restoredState, savedOf } from '../../src/replicate/saved-state.ts';

const failureOf = (kind: Failure['kind'], reason: Failure['reason'] = 'refused'): Failure => ({
  kind,
  reason,
  message: 'no',
});
const look: MirrorEvent = { kind: 'looked', due: true, quietMs: 0 };
const fail = (kind: Failure['kind'], reason?: Failure['reason'], random = 0.5): MirrorEvent => ({
  kind: 'failed',
  failure: failureOf(kind, reason),
  random,
});

/** A state and its time; each event comes `ms` after the one before. */
function walk(...steps: readonly (readonly [ms: number, event: MirrorEvent])[]): {
  readonly state: MirrorState;
  readonly actions: readonly (MirrorAction | null)[];
  readonly nowMs: number;
} {
  let [state, nowMs] = [initialState, 0];
  const actions = steps.map(([ms, event]) => {
    nowMs += ms;
    const step = next(state, event, nowMs);
    state = step.state;
    return step.action;
  });
  return { state, actions, nowMs };
}

/** Fails `count` times in a row, each as soon as it is tried. */
function failing(count: number): { state: MirrorState; nowMs: number } {
  let [state, nowMs] = [initialState, 0];
  for (let i = 0; i < count; i++) {
    nowMs += restMs(state, nowMs) ?? 0;
    state = next(state, look, nowMs).state;
    state = next(state, fail('retryable'), nowMs).state;
  }
  return { state, nowMs };
}

test('what is due is pushed, and a success forgets every failure', () => {
  const { state, actions } = walk([0, look], [10, fail('retryable')], [5000, look], [10, { kind: 'succeeded' }]);
  assert.deepEqual(actions, ['push', null, 'push', null]);
  assert.deepEqual([state.phase, state.failures, state.lastFailure], ['in-sync', 0, null]);
});

test('a mirror to which nothing is due is in sync, and gets nothing', () => {
  const { state, actions } = walk([0, { kind: 'looked', due: false, quietMs: 0 }]);
  assert.deepEqual([state.phase, actions], ['in-sync', [null]]);
});

test('transient failures wait, others are blocked until a person or a later look', () => {
  const after = (event: MirrorEvent): MirrorState => walk([0, look], [0, event]).state;
  const told = (['retryable', 'busy', 'permanent', 'security'] as const).map((kind) => after(fail(kind)));
  assert.deepEqual(
    told.map((state) => [state.phase, blockOf(state)?.by ?? null, state.failures]),
    [
      ['waiting', null, 1],
      ['waiting', null, 0],
      ['blocked', 'permanent', 1],
      ['blocked', 'security', 1],
    ],
  );
  assert.equal(after(fail('retryable', 'disk_full')).phase, 'waiting');
  assert.equal(after(fail('retryable', 'read_only')).phase, 'blocked');
});

test('waits: full jitter up to a cap, a busy lock 15 to 60 s, a full disk a quarter of an hour, read-only an hour, a person six', () => {
  const minute = 60_000;
  const span = (failure: Failure, failures: number): number[] =>
    [0, 0.999_999].map((random) => Math.round(delayMs(failure, failures, random) / 1000));
  assert.deepEqual(span(failureOf('retryable'), 1), [1, 5]);
  assert.deepEqual(span(failureOf('retryable'), 4), [1, 40]);
  assert.deepEqual(span(failureOf('retryable'), 400), [1, (15 * minute) / 1000]);
  assert.deepEqual(span(failureOf('busy', 'busy'), 7), [15, 60]);
  assert.deepEqual(span(failureOf('retryable', 'disk_full'), 7), [720, 900]);
  assert.deepEqual(span(failureOf('permanent', 'read_only'), 1), [3240, 3600]);
  assert.deepEqual(span(failureOf('permanent', 'auth'), 1), [19_440, 21_600]);
});

test('after five failures in a row a push is tried only when a cheap check went well', () => {
  const open = failing(breakerFailures);
  assert.equal(breakerOf(open.state), 'open');
  const later = open.nowMs + waitCapMs;
  const checking = next(open.state, look, later);
  assert.deepEqual(
    [checking.action, checking.state.phase, breakerOf(checking.state)],
    ['check', 'checking', 'half-open'],
  );
  const failedAgain = next(checking.state, fail('retryable'), later);
  assert.deepEqual([failedAgain.state.phase, failedAgain.state.failures], ['waiting', 6]);
  const pushing = next(checking.state, { kind: 'checked' }, later);
  assert.deepEqual([pushing.action, pushing.state.phase, breakerOf(pushing.state)], ['push', 'pushing', 'half-open']);
  assert.equal(breakerOf(next(pushing.state, { kind: 'succeeded' }, later).state), 'closed');
  assert.equal(breakerOf(failing(breakerFailures - 1).state), 'closed');
});

test('a blocked mirror whose check fails of something else stays blocked for what it was', () => {
  const { state, actions } = walk(
    [0, look],
    [0, fail('security', 'host_key')],
    [recheckCapMs, look],
    [0, fail('retryable')],
  );
  assert.deepEqual(actions, ['push', null, 'check', null]);
  assert.deepEqual([blockOf(state)?.by, state.lastFailure?.reason], ['security', 'host_key']);
  assert.ok((restMs(state, recheckCapMs) ?? 0) <= waitCapMs);
});

test('a blocked mirror whose look falls into a quiet window is left alone until its end', () => {
  const quietMs = 7_200_000;
  const { state, actions, nowMs } = walk(
    [0, look],
    [0, fail('permanent', 'auth')],
    [recheckCapMs, { kind: 'looked', due: true, quietMs }],
  );
  assert.deepEqual([actions, state.phase, restMs(state, nowMs)], [['push', null, null], 'blocked', quietMs]);
  assert.equal(next(state, look, nowMs + quietMs).action, 'check');
});

test('a push by hand goes at once, but not to a mirror that is blocked by hand', () => {
  const asked: MirrorEvent = { kind: 'asked' };
  assert.equal(walk([0, look], [2000, fail('permanent')], [0, asked]).actions[2], 'push');
  assert.equal(walk([0, { kind: 'block', note: 'x' }], [5000, asked]).actions[1], null);
  assert.equal(walk([0, { kind: 'looked', due: true, quietMs: 9000 }], [0, asked]).actions[1], 'push');
  const soon = walk([0, look], [100, fail('permanent')], [0, asked], [900, look]);
  assert.deepEqual(soon.actions, ['push', null, null, 'push'], 'within a second of the last try it waits');
});

test('a quiet window that begins during a check ends it: no push follows, and what was blocked stays so', () => {
  const quiet: MirrorEvent = { kind: 'quiet', quietMs: 60_000 };
  const lost = Array.from({ length: breakerFailures }, (): [number, MirrorEvent][] => [
    [waitCapMs, look],
    [0, fail('retryable')],
  ]).flat();
  const open = walk(...lost, [waitCapMs, look], [10, quiet], [0, { kind: 'aborted' }]);
  assert.deepEqual(open.actions.slice(-3), ['check', 'stop', null]);
  assert.equal(open.state.phase === 'waiting' && open.state.why, 'quiet');
  const blocked = walk([0, look], [0, fail('security')], [recheckCapMs, look], [10, quiet], [0, { kind: 'aborted' }]);
  assert.deepEqual(blocked.actions.slice(-3), ['check', 'stop', null]);
  assert.deepEqual([blocked.state.phase, restMs(blocked.state, blocked.nowMs)], ['blocked', 60_000]);
});

test('in a quiet window nothing begins, and what runs stops unless a person wanted it', () => {
  const quiet: MirrorEvent = { kind: 'looked', due: true, quietMs: 60_000 };
  const { state, actions } = walk([0, quiet], [59_000, { ...quiet, quietMs: 1000 }], [1000, look]);
  assert.deepEqual([actions, state.phase], [[null, null, 'push'], 'pushing']);
  const began: MirrorEvent = { kind: 'quiet', quietMs: 60_000 };
  assert.deepEqual(walk([0, look], [10, began]).actions, ['push', 'stop']);
  assert.deepEqual(walk([0, { kind: 'asked' }], [10, began]).actions, ['push', null]);
  assert.deepEqual(walk([0, quiet], [10, look]).actions, [null, 'push'], 'a window that ends early is noticed');
});

test('what waits without having failed is in sync as soon as nothing is due: after a restart, or when another primary was first', () => {
  const idle: MirrorEvent = { kind: 'looked', due: false, quietMs: 0 };
  const spread: MirrorState = { ...initialState, phase: 'waiting', why: 'pace', untilMs: 4000 };
  assert.deepEqual(next(spread, idle, 0), { state: { ...initialState, phase: 'in-sync' }, action: null });
  assert.equal(next(spread, look, 0).state, spread, 'what is due waits for its turn');
  const quiet = next(initialState, { ...look, quietMs: 9000 }, 0).state;
  assert.equal(next(quiet, { ...idle, quietMs: 8000 }, 1000).state.phase, 'in-sync');
  const failed = walk([0, look], [0, fail('retryable')], [0, idle]);
  assert.equal(failed.state.phase, 'waiting', 'what failed is not forgotten');
});

test('a block by hand stops the push in hand, and only unblocking ends it', () => {
  const { state, actions } = walk(
    [0, look],
    [10, { kind: 'block', note: 'disks' }],
    [10, { kind: 'aborted' }],
    [recheckCapMs * 10, look],
    [0, { kind: 'unblock' }],
    [0, look],
  );
  assert.deepEqual(actions, ['push', 'stop', null, null, null, 'push']);
  assert.equal(state.failures, 0);
});

const reasons = fc.constantFrom<Failure['reason']>('refused', 'disk_full', 'read_only', 'busy', 'auth');
const kinds = fc.constantFrom<Failure['kind']>('retryable', 'busy', 'permanent', 'security');
const randoms = fc.double({ min: 0, max: 0.999, noNaN: true });
const quietTimes = fc.constantFrom(0, 0, 0, 60_000);
const events: fc.Arbitrary<MirrorEvent> = fc.oneof(
  fc.record({ kind: fc.constant('looked' as const), due: fc.boolean(), quietMs: quietTimes }),
  fc.constantFrom<MirrorEvent>(look, look, { kind: 'asked' }, { kind: 'checked' }, { kind: 'succeeded' }),
  fc.constantFrom<MirrorEvent>({ kind: 'aborted' }, { kind: 'unblock' }, { kind: 'block', note: 'x' }),
  fc.record({ kind: fc.constant('quiet' as const), quietMs: quietTimes }),
  fc
    .tuple(kinds, reasons, randoms)
    .map(([kind, reason, random]) => ({ kind: 'failed' as const, failure: failureOf(kind, reason), random })),
);
const steps = fc.array(
  fc.tuple(fc.oneof(fc.integer({ min: 0, max: 1500 }), fc.integer({ min: 0, max: recheckCapMs })), events),
  {
    maxLength: 60,
  },
);

test('whatever happens: no push while blocked but after a check, no two tries within a second, every wait below its cap', () => {
  fc.assert(
    fc.property(steps, (happened) => {
      let [state, nowMs] = [initialState, 0];
      let lastTryMs = Number.NEGATIVE_INFINITY;
      for (const [ms, event] of happened) {
        nowMs += ms;
        const before = state;
        const { state: after, action } = next(before, event, nowMs);
        const isTry = action === 'check' || (action === 'push' && before.phase !== 'checking');
        if (isTry) {
          assert.ok(nowMs - lastTryMs >= paceMs, `two tries within ${nowMs - lastTryMs} ms`);
          lastTryMs = nowMs;
        }
        if (action === 'push' && (before.phase === 'blocked' || breakerOf(before) === 'open')) {
          const byHand = event.kind === 'asked' || (before.phase === 'waiting' && before.why === 'asked');
          assert.ok(byHand, `${before.phase} -> push by ${event.kind}`);
        }
        if (blockOf(before)?.by === 'operator')
          assert.ok(
            event.kind === 'unblock' || blockOf(after)?.by === 'operator',
            `${event.kind} ended a block by hand`,
          );
        if (action === 'stop') assert.ok(before.phase === 'pushing' || before.phase === 'checking');
        const rest = restMs(after, nowMs) ?? 0;
        assert.ok(rest >= 0 && rest <= (after.phase === 'blocked' ? recheckCapMs : waitCapMs), `waits ${rest} ms`);
        assert.ok(after.failures >= 0 && after.failures <= before.failures + 1);
        state = after;
      }
    }),
    { numRuns: 2000 },
  );
});

test('a restart keeps what was, for no longer than the cap, whatever the wall clock says; another configuration keeps only a block by hand', () => {
  const jump = fc.integer({ min: -40 * 86_400_000, max: 40 * 86_400_000 });
  fc.assert(
    fc.property(
      steps,
      jump,
      fc.boolean(),
      fc.integer({ min: 0, max: 10_000 }),
      (happened, wallMs, changed, spreadMs) => {
        const { state, nowMs } = walk(...happened);
        const saved = savedOf(state, { wallMs: nowMs, monotonicMs: nowMs }) ?? null;
        const after = restoredState({ saved, changed }, spreadMs, { wallMs: nowMs + wallMs, monotonicMs: 7 });
        const rest = restMs(after, 7) ?? 0;
        if (saved?.blockedBy === 'operator') assert.equal(blockOf(after)?.by, 'operator');
        else {
          assert.equal(blockOf(after)?.by ?? null, changed ? null : (saved?.blockedBy ?? null));
          assert.ok(
            rest >= spreadMs && rest <= Math.max(spreadMs, saved?.blockedBy ? recheckCapMs : waitCapMs),
            `${rest}`,
          );
          assert.equal(after.failures, changed ? 0 : (saved?.failures ?? 0));
        }
      },
    ),
    { numRuns: 500 },
  );
});
