/** The numbers, frames and lists of rsync's protocol. */
import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import test from 'node:test';
import * as fc from 'fast-check';
import { FrameReader } from '../../src/replicate/rsync-frames.ts';
import { fileList, listOf } from '../../src/replicate/rsync-list.ts';
import {
  frame,
  message,
  NdxReader,
  NdxWriter,
  RunEnded,
  varintExtra,
  varlong,
} from '../../src/replicate/rsync-wire.ts';

test('a number of variable length says how many bytes it has, and is the same again', () => {
  const sizes = fc.oneof(
    fc.maxSafeNat(),
    fc.nat(70_000),
    fc.constantFrom(0, 127, 128, 255, 256, 2 ** 31, 2 ** 32, 2 ** 53 - 1),
  );
  fc.assert(
    fc.property(sizes, fc.constantFrom(1, 3, 4), (value, least) => {
      const bytes = varlong(value, least);
      const first = bytes.readUInt8(0);
      const beyond = varintExtra(first);
      assert.equal(bytes.length, least + beyond);
      let read = BigInt(first & ((1 << (7 - beyond)) - 1));
      for (const byte of bytes.subarray(1).toReversed()) read = read * 256n + BigInt(byte);
      assert.equal(read, BigInt(value));
    }),
  );
});

test('numbers of files are the same again, in whatever order they come', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof(fc.nat(300), fc.nat(70_000), fc.nat(2 ** 31 - 1), fc.constant(-1))),
      async (numbers) => {
        const writer = new NdxWriter();
        let bytes = Buffer.concat(numbers.map((ndx) => writer.bytes(ndx)));
        const reader = new NdxReader();
        const read = async (count: number): Promise<Buffer> => {
          const part = bytes.subarray(0, count);
          bytes = bytes.subarray(count);
          return part;
        };
        for (const ndx of numbers) assert.equal(await reader.next(read), ndx);
        assert.equal(bytes.length, 0);
      },
    ),
  );
});

test('a stream of frames is the same wherever it is cut', async () => {
  const part = fc.record({
    kind: fc.constantFrom(message.data, message.data, message.warning, message.success),
    payload: fc.uint8Array({ maxLength: 40 }),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(part),
      fc.array(fc.nat(60)),
      fc.uint8Array({ minLength: 9, maxLength: 9 }),
      async (parts, cuts, greeting) => {
        const stream = new PassThrough();
        const messages: string[] = [];
        const reader = new FrameReader(stream, {
          alive: () => {},
          message: (kind, payload) => messages.push(`${kind} ${payload.toString('hex')}`),
        });
        let bytes = Buffer.concat([
          greeting,
          ...parts.flatMap(({ kind, payload }) => frame(kind, Buffer.from(payload))),
        ]);
        for (const cut of cuts) {
          stream.write(bytes.subarray(0, cut + 1));
          bytes = bytes.subarray(cut + 1);
        }
        stream.end(bytes);
        assert.deepEqual(await reader.read(9), Buffer.from(greeting));
        reader.startFrames();
        const data = Buffer.concat(
          parts.filter(({ kind }) => kind === message.data).map(({ payload }) => Buffer.from(payload)),
        );
        assert.deepEqual(await reader.read(data.length), data);
        await assert.rejects(reader.read(1), RunEnded);
        const expected = parts
          .filter(({ kind }) => kind !== message.data)
          .map(({ kind, payload }) => `${kind} ${Buffer.from(payload).toString('hex')}`);
        assert.deepEqual(messages, expected);
      },
    ),
    { numRuns: 60 },
  );
});

test('of a message that is too long only the beginning is kept', async () => {
  const stream = new PassThrough({ highWaterMark: 1 << 20 });
  let length = 0;
  const reader = new FrameReader(stream, { alive: () => {}, message: (_kind, payload) => (length = payload.length) });
  reader.startFrames();
  const [head, payload] = frame(message.warning, Buffer.alloc(0xffffff)) as [Buffer, Buffer];
  stream.write(head);
  for (let at = 0; at < payload.length; at += 16_384) stream.write(payload.subarray(at, at + 16_384));
  stream.write(Buffer.concat(frame(message.data, Buffer.from([1]))));
  assert.deepEqual(await reader.read(1), Buffer.from([1]));
  assert.ok(length > 0 && length < 100_000, `${length} bytes`);
});

test('files stand before what lies deeper, and directories as if they ended with a slash', () => {
  const files = ['b/z', 'b-1/a', 'b/c/d', 'b/c-d', 'z', 'b.c', 'A'].map((path) => ({ path, size: 1, mtimeSeconds: 1 }));
  assert.deepEqual(
    listOf(files).map((one) => ('path' in one ? one.path : `${one.directory}/`)),
    ['A', 'b.c', 'z', 'b-1/', 'b-1/a', 'b/', 'b/c-d', 'b/z', 'b/c/', 'b/c/d'],
  );
});

test('a list says each name whole, and a mode and a time only when they change', () => {
  const list = ['a', 'b'].map((path) => ({ path, size: 3, mtimeSeconds: 1_700_000_000 }));
  const [first, second, end] = ['04000161000300', '820162000300', '00'];
  const time = varlong(1_700_000_000, 4).toString('hex');
  assert.equal(fileList(list).toString('hex'), `${first}${time}a4810000${second}${end}`);
});
