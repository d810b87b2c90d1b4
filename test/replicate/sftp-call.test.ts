import assert from 'node:assert/strict';
import test from 'node:test';
import { limitTransport } from '../../src/replicate/limited.ts';
import { createSftpCaller, type SftpConnection } from '../../src/replicate/sftp-call.ts';
import { Slots } from '../../src/replicate/slots.ts';
import type { PutOptions, Transport, Wave } from '../../src/replicate/transport.ts';
import { Throttle } from '../../src/system/throttle.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

const signal = new AbortController().signal;

function world(deadlineMs?: number) {
  const clock = new VirtualClock();
  const resets: string[] = [];
  const connection = {
    sftp: () => Promise.resolve({}),
    reset: (error: Error) => void resets.push(error.message),
    close: () => Promise.resolve(),
  } as unknown as SftpConnection;
  const target = { host: 'h', port: 22, user: 'u', identity: 'i', hostKeys: [] };
  return {
    clock,
    resets,
    caller: createSftpCaller(
      { target, path: '/', clock, stallMs: 60_000, ...(deadlineMs && { deadlineMs }) },
      connection,
    ),
  };
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

test('a put that waits for its share of a narrow common bandwidth is given the time; one whose link trickles is not', async () => {
  const { clock, resets, caller } = world(60_000);
  // A put of so many bytes, each piece with `ownMs` on the link; the bandwidth is for nine such mirrors.
  const pieces = 40;
  const piece = 64 * 1024;
  const put = async (throttle: Throttle, ownMs: number): Promise<void> => {
    const transport = { put: (_: string, __: readonly Wave[], options: PutOptions) => send(options) } as Transport;
    const send = (options: PutOptions): Promise<void> =>
      caller.call(
        options,
        async (_session, inner, onBytes) => {
          for (let n = 0; n < pieces; n++) {
            await options.pace?.(piece, { signal: inner, onWait: () => onBytes(0) });
            await clock.sleep(ownMs, { signal: inner });
            onBytes(piece);
          }
        },
        pieces * piece,
      );
    await limitTransport(transport, new Slots(8, clock), [throttle]).put('/', [], { signal });
  };
  const narrow = new Throttle(64 * 1024, clock);
  const others = new AbortController();
  const crowd = Array.from({ length: 8 }, async () => {
    for (;;) await narrow.take(piece, { signal: others.signal, onWait: () => {} });
  }).map((one) => one.catch(() => {}));
  const waiting = put(narrow, 10).then(() => 'done');
  const trickling = put(new Throttle(10 ** 9, clock), 30_000).catch((error: Error) => error.message);
  await clock.advance(900_000);
  others.abort();
  await clock.advance(1000);
  await Promise.all(crowd);
  assert.equal(await waiting, 'done');
  assert.match(String(await trickling), /^not done after 160 s/);
  assert.equal(resets.length, 1);
});
