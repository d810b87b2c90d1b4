import assert from 'node:assert/strict';
import test from 'node:test';
import { createSftpCaller, type SftpConnection } from '../../src/replicate/sftp-call.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

const signal = new AbortController().signal;

function world() {
  const clock = new VirtualClock();
  const resets: string[] = [];
  const connection = {
    sftp: () => Promise.resolve({}),
    reset: (error: Error) => void resets.push(error.message),
    close: () => Promise.resolve(),
  } as unknown as SftpConnection;
  const target = { host: 'h', port: 22, user: 'u', identity: 'i', hostKeys: [] };
  return { clock, resets, caller: createSftpCaller({ target, path: '/', clock, stallMs: 60_000 }, connection) };
}

test('a call that waits for another one on the same connection is not hung while that one gets on', async () => {
  const { clock, resets, caller } = world();
  const reads = caller.call({ signal }, async (_session, inner, onBytes) => {
    for (let n = 0; n < 8; n++) {
      await clock.sleep(20_000, { signal: inner });
      onBytes(0);
    }
  });
  const put = caller.call({ signal }, () => reads);
  await clock.advance(200_000);
  await Promise.all([put, reads]);
  assert.deepEqual(resets, []);
});

test('where nothing is heard of either, both are given up', async () => {
  const { clock, resets, caller } = world();
  const hang = (): Promise<never> => new Promise(() => {});
  const ends = Promise.allSettled([caller.call({ signal }, hang), caller.call({ signal }, hang)]);
  await clock.advance(61_000);
  assert.deepEqual(
    (await ends).map(({ status }) => status),
    ['rejected', 'rejected'],
  );
  assert.equal(resets.length, 2);
});
