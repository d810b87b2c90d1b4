import assert from 'node:assert/strict';
import test from 'node:test';
import { type FaultKind, type PushFailureReason, TransportError } from '../../src/errors.ts';
import type { PushPort } from '../../src/replicate/ports.ts';
import { retrying } from '../../src/replicate/retry.ts';
import { unreachableFiles } from '../../src/replicate/trigger.ts';
import { silentLog } from '../../src/system/log.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

function failing(faults: [PushFailureReason, FaultKind][]): { port: PushPort; at: number[]; clock: VirtualClock } {
  const clock = new VirtualClock();
  const at: number[] = [];
  const port: PushPort = {
    transport: unreachableFiles,
    isDue: () => true,
    check: () => Promise.resolve(),
    force: () => {},
    requireOurs: () => Promise.resolve(),
    close: () => Promise.resolve(),
    push: () => {
      at.push(clock.monotonic());
      const fault = faults.shift();
      return fault ? Promise.reject(new TransportError(fault[0], fault[1], 'as told')) : Promise.resolve(7);
    },
  };
  return { port, at, clock };
}

const random = (): number => 0.5;
const { signal } = new AbortController();

test('a push that was cut short is tried again, not more than once a second', async () => {
  const { port, at, clock } = failing([
    ['closed', 'retryable'],
    ['closed', 'retryable'],
  ]);
  const retried: string[] = [];
  const push = retrying('paris', port, { clock, random, log: silentLog, onRetry: ({ reason }) => retried.push(reason) });
  const pushed = push.push(signal);
  await clock.advance(10_000);
  assert.equal(await pushed, 7);
  assert.deepEqual(retried, ['closed', 'closed']);
  assert.deepEqual(at, [0, 1500, 4500]);
});

test('a push that is asked for right after the last try of another waits out the second', async () => {
  const { port, at, clock } = failing([
    ['closed', 'retryable'],
    ['closed', 'retryable'],
    ['closed', 'retryable'],
  ]);
  const push = retrying('paris', port, { clock, random, log: silentLog, onRetry: () => {} });
  const ended = assert.rejects(push.push(signal), { reason: 'closed' });
  await clock.advance(4600);
  await ended;
  const asked = push.push(signal);
  await clock.advance(10_000);
  assert.equal(await asked, 7);
  assert.deepEqual(at, [0, 1500, 4500, 5500]);
});

for (const [reason, kind] of [
  ['timeout', 'retryable'],
  ['disk_full', 'retryable'],
  ['busy', 'busy'],
  ['host_key', 'security'],
] as const) {
  test(`${reason} is left to the worker, which waits`, async () => {
    const { port, at, clock } = failing([[reason, kind]]);
    const push = retrying('paris', port, { clock, random, log: silentLog, onRetry: () => assert.fail('retried') });
    await assert.rejects(push.push(signal), { reason });
    assert.equal(at.length, 1);
  });
}

test('an abort ends the wait between two tries with its reason', async () => {
  const { port, at, clock } = failing([
    ['partial', 'retryable'],
    ['partial', 'retryable'],
  ]);
  const stop = new AbortController();
  const push = retrying('paris', port, {
    clock,
    random,
    log: silentLog,
    onRetry: () => stop.abort(new Error('enough')),
  });
  await assert.rejects(push.push(stop.signal), /enough/);
  assert.equal(at.length, 1);
});
