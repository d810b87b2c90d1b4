import assert from 'node:assert/strict';
import test from 'node:test';
import { blockEvent } from '../../src/replicate/block-event.ts';
import type { Failure } from '../../src/replicate/backoff.ts';
import { initialState, type MirrorEvent, type MirrorState, next } from '../../src/replicate/mirror.ts';
import type { BlockedBy } from '../../src/store/events.ts';

/** What is told of a row of events, each with what it adds. */
function told(
  events: readonly MirrorEvent[],
  from: MirrorState = initialState,
  before: BlockedBy | null = null,
): string[] {
  let state = from;
  let known = before;
  let nowMs = 0;
  const said: string[] = [];
  for (const event of events) {
    nowMs += 10 * 3_600_000;
    state = next(state, event, nowMs).state;
    const facts = blockEvent('paris', known, state, () => 7);
    if (facts === null) continue;
    known = facts.event === 'mirror_blocked' ? facts.blockedBy : null;
    said.push(
      facts.event === 'mirror_blocked'
        ? `${facts.blockedBy} ${facts.reason}: ${facts.detail}`
        : `ok ${facts.generation}`,
    );
  }
  return said;
}

const looked: MirrorEvent = { kind: 'looked', due: true, quietMs: 0 };
const failed = (kind: Failure['kind'], reason: Failure['reason']): MirrorEvent => {
  return { kind: 'failed', random: 0, failure: { kind, reason, message: `bad ${reason}` } };
};

test('a block is told once, however often it is found again, and its end with the first push that ends well', () => {
  const denied = failed('permanent', 'auth');
  assert.deepEqual(told([looked, denied, looked, denied, looked, failed('retryable', 'dns'), looked]), [
    'permanent auth: bad auth',
  ]);
  assert.deepEqual(told([looked, denied, looked, { kind: 'checked' }, { kind: 'succeeded' }, looked]), [
    'permanent auth: bad auth',
    'ok 7',
  ]);
});

test('what only fails for a while is no event', () => {
  const down = failed('retryable', 'unreachable');
  const tries = Array.from({ length: 8 }, () => [looked, down]).flat();
  assert.deepEqual(told([...tries, looked, { kind: 'checked' }, { kind: 'succeeded' }]), []);
});

test('another block than was told is told; the word of a person is no recovery', () => {
  assert.deepEqual(
    told([
      looked,
      failed('permanent', 'auth'),
      { kind: 'block', note: 'by ops' },
      { kind: 'unblock' },
      looked,
      failed('security', 'host_key'),
      { kind: 'unblock' },
      looked,
      { kind: 'succeeded' },
    ]),
    ['permanent auth: bad auth', 'operator null: by ops', 'security host_key: bad host_key', 'ok 7'],
  );
});

test('after a restart what was told is known, and what was not is told', () => {
  const state: MirrorState = { ...initialState, phase: 'blocked', by: 'permanent', untilMs: null, note: null };
  const quiet: MirrorEvent = { kind: 'looked', due: false, quietMs: 0 };
  assert.deepEqual(told([quiet], state, 'permanent'), []);
  assert.deepEqual(told([quiet], state, null), ['permanent null: ']);
  assert.deepEqual(told([quiet], initialState, 'permanent'), ['ok 7']);
});
