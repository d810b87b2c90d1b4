import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { type Bucket, takeFrom, Throttle } from '../../src/system/throttle.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

test('over any time no more goes than the rate and one burst allow', () => {
  const taken = fc.array(fc.tuple(fc.integer({ min: 0, max: 5000 }), fc.integer({ min: 1, max: 65_536 })), {
    minLength: 1,
  });
  fc.assert(
    fc.property(taken, fc.integer({ min: 65_536, max: 10_000_000 }), (takes, rate) => {
      let bucket: Bucket = { level: 0, atMs: 0 };
      let [nowMs, bytes] = [0, 0];
      for (const [ms, count] of takes) {
        nowMs += ms;
        const step = takeFrom(bucket, count, rate, nowMs);
        bucket = step.bucket;
        bytes += count;
        const goneMs = nowMs + step.waitMs;
        assert.ok(bytes <= (goneMs / 1000) * rate + Math.max(65_536, rate / 4) + 1);
      }
    }),
  );
});

test('waiting shows signs of life, ends with the signal, and a lifted limit counts at once', async () => {
  const clock = new VirtualClock();
  const throttle = new Throttle(64 * 1024, clock);
  let signs = 0;
  const stop = new AbortController();
  const options = { signal: stop.signal, onWait: () => void signs++ };
  const taking = throttle.take(640 * 1024, options);
  await clock.advance(11_000);
  await taking;
  assert.ok(signs >= 9, `${signs} signs`);
  const waiting = throttle.take(640 * 1024, options);
  await clock.advance(0);
  stop.abort(new DOMException('x', 'AbortError'));
  await assert.rejects(waiting, { name: 'AbortError' });
  throttle.setRate(null);
  await throttle.take(10 ** 9, options);
});
