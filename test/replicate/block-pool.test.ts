import assert from 'node:assert/strict';
import test from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { BlockPool } from '../../src/replicate/block-pool.ts';

const block = 256 * 1024;
const { signal } = new AbortController();

test('who waits for room gets it in the order of the files, and of one file in the order of its blocks', async () => {
  const pool = new BlockPool(block);
  const taken: string[] = [];
  const take = async (file: number, name: string): Promise<void> => {
    await pool.reserve(file, block, signal);
    taken.push(name);
  };
  // 4 MiB are on their way.
  await Promise.all(Array.from({ length: 16 }, (_, n) => take(10 + n, 'first')));
  const waiting = [take(3, '3a'), take(1, '1a'), take(2, '2a'), take(1, '1b'), take(0, '0a'), take(3, '3b')];
  await turn();
  assert.equal(taken.length, 16, 'there is no room for more');
  const order: string[] = [];
  for (const n of waiting.keys()) {
    pool.settle(10 + n, block);
    await turn();
    order.push(taken.at(-1) ?? '');
  }
  assert.deepEqual(order, ['0a', '1a', '1b', '2a', '3a', '3b']);
  await Promise.all(waiting);
});

test('a file that has half of the room lets others have the rest while they wait, and takes it when nobody does', async () => {
  const pool = new BlockPool(block);
  const taken: string[] = [];
  const take = async (file: number): Promise<void> => {
    await pool.reserve(file, block, signal);
    taken.push(String(file));
  };
  await Promise.all(Array.from({ length: 16 }, () => take(0)));
  taken.splice(0);
  const waiting = [take(0), take(0), take(1), take(2)];
  const order: string[] = [];
  for (const _ of waiting) {
    pool.settle(0, block);
    await turn();
    order.push(taken.at(-1) ?? '');
  }
  assert.deepEqual(order, ['1', '2', '0', '0']);
  await Promise.all(waiting);
});

test('memory that was given back is what is taken next, as long as it is large enough', () => {
  const pool = new BlockPool(block);
  const small = pool.take(70_000);
  pool.give(small);
  const again = pool.take(90_000);
  assert.equal(again.memory, small.memory);
  assert.equal(again.data.length, 90_000);
  const beside = pool.take(90_000);
  assert.notEqual(beside.memory, small.memory, 'what is in use is not lent twice');
  pool.give(again);
  const large = pool.take(block);
  assert.notEqual(large.memory, small.memory);
  assert.equal(large.data.length, block);
});
