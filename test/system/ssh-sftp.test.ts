/** The SFTP client against a server made of a table, and the packets by themselves. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Duplex, duplexPair } from 'node:stream';
import test, { type TestContext } from 'node:test';
import { array, assert as check, infiniteStream, nat, property, uint8Array } from 'fast-check';
import { uploadFiles } from '../../src/replicate/sftp-upload.ts';
import { systemClock } from '../../src/system/clock.ts';
import { SftpSession } from '../../src/system/ssh-sftp.ts';
import {
  attributes,
  createWriteBlock,
  encodePacket,
  FieldReader,
  PacketSplitter,
  packet,
  status,
  text,
  uint32,
} from '../../src/system/ssh-sftp-wire.ts';

const nameOf = new Map<number, string>(Object.entries(packet).map(([name, type]) => [type, name]));

/** A session with a server that grants everything but what `refuse` names, and the requests that it saw. */
async function start(
  refuse: (name: string) => number | undefined,
): Promise<{ session: SftpSession; seen: string[]; far: Duplex }> {
  const [near, far] = duplexPair();
  const seen: string[] = [];
  const splitter = new PacketSplitter();
  far.on('data', (chunk: Buffer) => {
    for (const bytes of splitter.push(chunk)) {
      const fields = new FieldReader(bytes.subarray(1));
      const type = bytes[0] ?? 0;
      const id = uint32(fields.uint32());
      const name = type === packet.extended ? fields.text() : (nameOf.get(type) ?? '?');
      seen.push(name);
      const code = refuse(name) ?? status.ok;
      if (type === packet.init) {
        far.write(encodePacket(packet.version, uint32(3), text('posix-rename@openssh.com'), text('1')));
      } else if (type === packet.open && code === status.ok) far.write(encodePacket(packet.handle, id, text('h')));
      else far.write(encodePacket(packet.status, id, uint32(code), text('said'), text('')));
    }
  });
  const session = await SftpSession.open(near, { together: (write) => write(), reasonOfLoss: () => new Error('lost') });
  return { session, seen, far };
}

function upload(
  t: TestContext,
  session: SftpSession,
  size: number,
  signal = new AbortController().signal,
): Promise<void> {
  const sourceRoot = mkdtempSync(join(tmpdir(), 'lockstepd-sftp-'));
  t.after(() => rmSync(sourceRoot, { recursive: true, force: true }));
  writeFileSync(join(sourceRoot, 'a'), Buffer.alloc(size));
  return uploadFiles({
    session,
    root: '/',
    sourceRoot,
    waves: [[{ path: 'a', size, mtimeSeconds: 1 }]],
    fsync: true,
    clock: systemClock,
    signal,
    onBytes: () => {},
  });
}

test('a file is renamed after every other answer', async (t) => {
  const { session, seen } = await start(() => undefined);
  await upload(t, session, 40_000);
  assert.deepEqual(seen, ['init', 'open', 'write', 'write', 'fsetstat', 'close', 'posix-rename@openssh.com']);
});

for (const name of ['write', 'fsetstat', 'close']) {
  test(`a file of which a ${name} failed is not renamed, and its temporary file is removed`, async (t) => {
    const { session, seen } = await start((one) => (one === name ? status.failure : undefined));
    await assert.rejects(upload(t, session, 40_000), /said/);
    assert.ok(!seen.includes('posix-rename@openssh.com'));
    assert.ok(seen.includes('remove'));
    assert.equal(seen.filter((one) => one === 'close').length, 1);
  });
}

test('a file is not renamed any more after an abort', async (t) => {
  const stop = new AbortController();
  const { session, seen } = await start((one) => {
    if (one === 'close') stop.abort(new Error('enough'));
    return undefined;
  });
  await assert.rejects(upload(t, session, 1000, stop.signal), /enough/);
  assert.ok(!seen.includes('posix-rename@openssh.com'));
  assert.equal(seen.at(-1), 'remove');
});

test('a write that fails while the upload waits for room ends the upload', async (t) => {
  const { session, seen, far } = await start((one) => {
    if (one !== 'open') return one === 'write' ? status.failure : undefined;
    // The server reads on only when all that may be in flight is in flight.
    far.pause();
    setTimeout(() => far.resume(), 200);
    return undefined;
  });
  await assert.rejects(upload(t, session, 20 * 1024 * 1024), /said/);
  assert.ok(!seen.includes('posix-rename@openssh.com'));
  const written = seen.filter((one) => one === 'write').length * session.maxWriteBytes;
  assert.ok(written <= 4 * 1024 * 1024, `${written} bytes were in flight`);
});

test('requests in flight end with the session', async () => {
  const { session, far } = await start(() => undefined);
  far.removeAllListeners('data');
  const waiting = session.stat('/');
  far.destroy();
  session.end();
  await assert.rejects(waiting, /lost/);
  assert.ok(session.ended);
  await assert.rejects(session.stat('/'), /lost/);
});

test('a server that talks nonsense loses its session, and nothing hangs', async () => {
  for (const nonsense of [
    Buffer.from('Welcome to the server\n'),
    Buffer.alloc(8),
    encodePacket(packet.status, uint32(99)),
  ]) {
    const { session, far } = await start(() => undefined);
    const waiting = session.readDirectory(Buffer.from('h'));
    far.write(nonsense);
    await assert.rejects(waiting, RangeError);
  }
});

test('packets survive any cutting of the stream', () => {
  check(
    property(
      array(uint8Array({ minLength: 1, maxLength: 300 }), { maxLength: 8 }),
      infiniteStream(nat(40)),
      (bodies, cuts) => {
        const stream = Buffer.concat(bodies.map((body) => encodePacket(body[0] ?? 0, Buffer.from(body.subarray(1)))));
        const splitter = new PacketSplitter();
        const got: Buffer[] = [];
        for (let at = 0; at < stream.length; ) {
          const length = 1 + Number(cuts.next().value);
          got.push(...splitter.push(stream.subarray(at, at + length)));
          at += length;
        }
        assert.deepEqual(
          got.map((one) => one.toString('hex')),
          bodies.map((one) => Buffer.from(one).toString('hex')),
        );
      },
    ),
  );
});

test('attributes survive the way over the wire', () => {
  for (const value of [
    {},
    { size: 2 ** 40 + 5 },
    { permissions: 0o100644 },
    { size: 0, permissions: 1, atimeSeconds: 3, mtimeSeconds: 4 },
  ]) {
    assert.deepEqual(new FieldReader(attributes(value)).attributes(), value);
  }
});

/** A session over a channel of which the test takes each write itself, with a server that says nothing more. */
async function startOn(
  write: (chunk: Buffer, done: () => void) => void,
): Promise<{ session: SftpSession; channel: Duplex }> {
  const channel = new Duplex({ read: () => {}, write: (chunk: Buffer, _encoding, done) => write(chunk, done) });
  const opening = SftpSession.open(channel, { together: (work) => work(), reasonOfLoss: () => new Error('lost') });
  channel.push(encodePacket(packet.version, uint32(3)));
  return { session: await opening, channel };
}

test('much data leaves at once and its memory is free again, before the turn of the event loop ends', async () => {
  let bytes = 0;
  const { session, channel } = await startOn((chunk, done) => {
    bytes += chunk.length;
    done();
  });
  const handle = Buffer.from('h');
  const taken: string[] = [];
  const answers = [
    session.write(handle, 0, createWriteBlock(100), () => taken.push('small')),
    session.write(handle, 100, createWriteBlock(100_000), () => taken.push('large')),
  ];
  assert.deepEqual(taken, ['small', 'large']);
  assert.ok(bytes > 100_100, `${bytes} bytes left`);
  channel.destroy();
  for (const answer of answers) await assert.rejects(answer, /lost/);
  assert.deepEqual(taken, ['small', 'large']);
});

test('memory that the channel still holds is not free before it is taken', async () => {
  const held: (() => void)[] = [];
  const { session, channel } = await startOn((chunk, done) => {
    // The hello is of no interest.
    if (chunk.length < 100) done();
    else held.push(done);
  });
  let taken = 0;
  const answer = session.write(Buffer.from('h'), 0, createWriteBlock(100_000), () => taken++);
  assert.equal(taken, 0);
  held.shift()?.();
  await new Promise(setImmediate);
  assert.equal(taken, 1);
  channel.destroy();
  await assert.rejects(answer, /lost/);
  assert.equal(taken, 1);
});
