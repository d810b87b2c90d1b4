import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import test, { type TestContext } from 'node:test';
import { Outlet } from '../../src/system/outlet.ts';

async function pair(t: TestContext): Promise<{ ours: Socket; theirs: Socket }> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const ours = connect({ host: '127.0.0.1', port: (server.address() as { port: number }).port });
  const [[theirs]] = await Promise.all([accepted, once(ours, 'connect')]);
  t.after(() => {
    ours.destroy();
    theirs.destroy();
  });
  return { ours, theirs };
}

/** Memory of its own, as a cipher makes it. */
function ownBytes(length: number): Buffer {
  return Buffer.from(new Uint8Array(randomBytes(length)).buffer);
}

test('what the kernel has taken is free at once, and arrives', async (t) => {
  const { ours, theirs } = await pair(t);
  const outlet = new Outlet(ours);
  const pieces = [ownBytes(10_000), ownBytes(20_000)];
  const sent = Buffer.concat(pieces);
  outlet.together(() => {
    for (const piece of pieces) {
      outlet.together(() => {
        ours.write(piece);
        outlet.spend(piece);
      });
      assert.notEqual(piece.length, 0, 'it has not left before the outermost call returns');
    }
  });
  assert.deepEqual(
    pieces.map(({ length }) => length),
    [0, 0],
  );
  ours.end();
  const arrived: Buffer[] = [];
  for await (const chunk of theirs) arrived.push(chunk as Buffer);
  assert.deepEqual(Buffer.concat(arrived), sent);
});

test('what the kernel has not taken stays whole until it has', async (t) => {
  const { ours, theirs } = await pair(t);
  const outlet = new Outlet(ours);
  theirs.pause();
  const sent: Buffer[] = [];
  let kept = 0;
  // More than the buffers of both ends hold.
  for (let n = 0; n < 1000; n++) {
    const piece = ownBytes(32 * 1024);
    sent.push(Buffer.from(piece));
    outlet.together(() => {
      ours.write(piece);
      outlet.spend(piece);
    });
    if (piece.length > 0) kept++;
  }
  assert.ok(kept > 0, 'the socket was never full');
  ours.end();
  const arrived: Buffer[] = [];
  for await (const chunk of theirs) arrived.push(chunk as Buffer);
  assert.equal(Buffer.concat(arrived).equals(Buffer.concat(sent)), true);
});

test('memory that somebody shares, and that of a socket which is gone, is left alone', async (t) => {
  const { ours } = await pair(t);
  const outlet = new Outlet(ours);
  const all = ownBytes(1000);
  const part = all.subarray(0, 500);
  outlet.together(() => {
    ours.write(part);
    outlet.spend(part);
  });
  assert.equal(all.length, 1000);
  const last = ownBytes(1000);
  outlet.together(() => {
    ours.write(last);
    outlet.spend(last);
    ours.destroy();
  });
  assert.equal(last.length, 1000);
});

test('a write that throws leaves the socket as it was', async (t) => {
  const { ours } = await pair(t);
  const outlet = new Outlet(ours);
  assert.throws(
    () =>
      outlet.together(() => {
        throw new Error('refused');
      }),
    /refused/,
  );
  assert.equal(ours.writableCorked, 0);
});
