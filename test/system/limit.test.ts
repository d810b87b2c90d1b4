import assert from 'node:assert/strict';
import test from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { eachLimited, Mutex, Wake } from '../../src/system/limit.ts';

test('eachLimited runs at most so many side by side and every item once', async () => {
  let running = 0;
  let most = 0;
  const seen: number[] = [];
  await eachLimited([1, 2, 3, 4, 5, 6, 7], 3, async (item) => {
    most = Math.max(most, ++running);
    await turn();
    seen.push(item);
    running--;
  });
  assert.equal(most, 3);
  assert.deepEqual(
    seen.toSorted((a, b) => a - b),
    [1, 2, 3, 4, 5, 6, 7],
  );
});

test('eachLimited takes no new item after a failure and throws it when all have ended', async () => {
  const started: number[] = [];
  let ended = 0;
  await assert.rejects(
    eachLimited([1, 2, 3, 4, 5], 2, async (item) => {
      started.push(item);
      await turn();
      ended++;
      if (item === 1) throw new Error('first');
    }),
    /first/,
  );
  assert.equal(started.length, ended);
  assert.ok(started.length < 5);
});

test('a mutex keeps the order of the calls, failures included', async () => {
  const mutex = new Mutex();
  const order: string[] = [];
  const first = mutex.run(async () => {
    await turn();
    order.push('first');
    throw new Error('no');
  });
  const second = mutex.run(async () => {
    await turn();
    order.push('second');
  });
  await assert.rejects(first, /no/);
  await second;
  assert.deepEqual(order, ['first', 'second']);
});

test('a wake before the wait is not lost, two are one, and a sleep that ends says false', async () => {
  const wake = new Wake();
  const never = (signal: AbortSignal): Promise<void> =>
    new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason as Error));
    });
  wake.wake();
  wake.wake();
  assert.equal(await wake.wait(never), true);
  assert.equal(await wake.wait(async () => {}), false);
  const waiting = wake.wait(never);
  wake.wake();
  assert.equal(await waiting, true);
  await assert.rejects(
    wake.wait(() => Promise.reject(new Error('aborted from outside'))),
    /aborted from outside/,
  );
});
