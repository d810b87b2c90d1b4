import assert from 'node:assert/strict';
import test from 'node:test';
import { limitTransport } from '../../src/replicate/limited.ts';
import { Slots } from '../../src/replicate/slots.ts';
import type { Transport } from '../../src/replicate/transport.ts';
import { Throttle } from '../../src/system/throttle.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

const never = new AbortController().signal;

/** Runs `work` for `ms`, with a sign of life every `everyMs`. */
function busy(clock: VirtualClock, slots: Slots, ms: number, everyMs: number, signal = never): Promise<number> {
  return slots.run(signal, async (alive) => {
    for (let gone = 0; gone < ms; gone += everyMs) {
      await clock.sleep(Math.min(everyMs, ms - gone), { signal });
      alive();
    }
    return clock.monotonic();
  });
}

test('no more than the limit run, in the order of asking', async () => {
  const clock = new VirtualClock();
  const slots = new Slots(2, clock);
  const ended = Promise.all(Array.from({ length: 6 }, () => busy(clock, slots, 1000, 100)));
  await clock.advance(10_000);
  assert.deepEqual(await ended, [1000, 1000, 2000, 2000, 3000, 3000]);
});

test('a slow mirror gives its slot up after a slice, and goes on', async () => {
  const clock = new VirtualClock();
  const slots = new Slots(1, clock);
  const slow = busy(clock, slots, 3 * 3_600_000, 1000);
  const others = Promise.all(Array.from({ length: 3 }, () => busy(clock, slots, 1000, 100)));
  await clock.advance(40_000);
  assert.deepEqual(await others, [31_000, 32_000, 33_000]);
  await clock.advance(4 * 3_600_000);
  assert.equal(await slow, 3 * 3_600_000);
});

test('a black hole keeps its slot for two seconds, and only while somebody waits for it', async () => {
  const clock = new VirtualClock();
  const slots = new Slots(1, clock);
  const hole = busy(clock, slots, 60_000, 60_000);
  await clock.advance(10_000);
  const other = busy(clock, slots, 500, 100);
  const next = busy(clock, slots, 500, 100);
  await clock.advance(60_000);
  assert.deepEqual([await hole, await other, await next], [60_000, 10_500, 11_000]);
});

test('a hundred black holes do not starve one mirror behind them', async () => {
  const clock = new VirtualClock();
  const slots = new Slots(4, clock);
  const holes = Array.from({ length: 100 }, () => busy(clock, slots, 3_600_000, 3_600_000));
  const other = busy(clock, slots, 100, 100);
  await clock.advance(60_000);
  assert.ok((await other) <= 51_000);
  await clock.advance(2 * 3_600_000);
  await Promise.all(holes);
});

test('who does not want to wait any more leaves the queue, and a raised limit lets more in', async () => {
  const clock = new VirtualClock();
  const slots = new Slots(1, clock);
  const first = busy(clock, slots, 1000, 100);
  const leaving = new AbortController();
  const gone = busy(clock, slots, 1000, 100, leaving.signal);
  const second = busy(clock, slots, 1000, 100);
  await clock.advance(100);
  leaving.abort(new DOMException('x', 'AbortError'));
  await assert.rejects(gone, { name: 'AbortError' });
  slots.setLimit(2);
  await clock.advance(5000);
  assert.deepEqual([await first, await second], [1000, 1100]);
});

/** Puts that are nothing but their bytes, 32 KiB at a time. */
function byteTransport(inFlight: number): Transport {
  const piece = 32 * 1024;
  return {
    list: () => Promise.resolve(new Map()),
    remove: () => Promise.resolve(),
    close: () => Promise.resolve(),
    put: async (_root, waves, { signal, pace, onBytes }) => {
      let left = waves.flat().reduce((sum, { size }) => sum + size, 0);
      const work = async (): Promise<void> => {
        while (left > 0) {
          left -= piece;
          await pace?.(piece, { signal, onWait: () => {} });
          onBytes?.(piece);
        }
      };
      await Promise.all(Array.from({ length: inFlight }, work));
    },
  };
}

test('the common bandwidth is shared evenly, however much a mirror has in flight; its own limit holds too', async () => {
  const clock = new VirtualClock();
  const slots = new Slots(8, clock);
  const mib = 1024 * 1024;
  const all = new Throttle(3 * mib, clock);
  const sent = [0, 0, 0];
  const end = new AbortController();
  const pushing = [64, 1, 8].map(async (inFlight, n) => {
    const own = new Throttle(n === 2 ? mib / 2 : null, clock);
    const transport = limitTransport(byteTransport(inFlight), slots, [own, all]);
    const wave = [{ path: 'a', size: 10_000 * mib, mtimeSeconds: 1 }];
    const onBytes = (bytes: number): number => (sent[n] = (sent[n] ?? 0) + bytes);
    await transport.put('/', [wave], { signal: end.signal, onBytes });
  });
  await clock.advance(60_000);
  const rates = sent.map((bytes) => bytes / 60 / mib);
  assert.ok(Math.abs(rates.reduce((a, b) => a + b) - 3) < 0.1, rates.join(' '));
  assert.ok(Math.abs((rates[2] ?? 0) - 0.5) < 0.05, rates.join(' '));
  assert.ok(Math.abs((rates[0] ?? 0) - (rates[1] ?? 0)) < 0.2, rates.join(' '));
  end.abort();
  await Promise.allSettled(pushing);
});
