import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import test from 'node:test';
import { withStallWatch } from '../../src/replicate/stall.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

/** What a call is watched with: a minute of silence at most, an hour in all. */
function watching(): { clock: VirtualClock; outer: AbortController; watch: Parameters<typeof withStallWatch>[0] } {
  const [clock, outer] = [new VirtualClock(), new AbortController()];
  const watch = { clock, stallMs: 60_000, deadlineMs: 3_600_000, signal: outer.signal, onStall: () => {} };
  return { clock, outer, watch };
}

test('a call that is called off ends at once, and its work sees why', async () => {
  const { clock, outer, watch } = watching();
  let seen: AbortSignal | undefined;
  const reason = new Error('the operator has blocked the mirror');
  const ended = assert.rejects(
    withStallWatch(watch, (signal) => {
      seen = signal;
      return clock.sleep(1000);
    }),
    reason,
  );
  await clock.advance(0);
  outer.abort(reason);
  await ended;
  assert.equal(clock.monotonic(), 0);
  assert.equal(seen?.reason, reason);
});

test('a silent call ends, and so do the waits of its work', async () => {
  const { clock, watch } = watching();
  let inner = '';
  const ended = assert.rejects(
    withStallWatch(watch, async (signal) => {
      await clock.sleep(3_600_000, { signal }).catch((error: Error) => (inner = error.message));
    }),
    { name: 'TransportError', reason: 'timeout' },
  );
  await clock.advance(60_000);
  await ended;
  assert.match(inner, /has been silent for 60 s/);
});

test('a call leaves nothing at the signal that it was given, however it ends', async () => {
  const { clock, outer, watch } = watching();
  await withStallWatch(watch, () => Promise.resolve());
  await assert.rejects(withStallWatch(watch, () => Promise.reject(new Error('refused'))));
  const silent = assert.rejects(withStallWatch(watch, () => new Promise<never>(() => {})));
  await clock.advance(60_000);
  await silent;
  assert.deepEqual(getEventListeners(outer.signal, 'abort'), []);
});
