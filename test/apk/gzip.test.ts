import assert from 'node:assert/strict';
import test from 'node:test';
import { deflateRawSync, deflateSync, gzipSync } from 'node:zlib';
import * as fc from 'fast-check';
import { inflateMember, MemberStream, peekMember } from '../../src/apk/gzip.ts';
import { storedGzip } from '../../src/apk/make.ts';
import { FormatError } from '../../src/errors.ts';

const code = (expected: string) => (error: unknown) => error instanceof FormatError && error.code === expected;

async function stream(
  bytes: Buffer,
  pieceBytes: number,
  cap = 1e9,
): Promise<{ taken: number; ended: boolean; content: Buffer }> {
  const parts: Buffer[] = [];
  using member = new MemberStream(cap, (piece) => parts.push(Buffer.from(piece)));
  let taken = 0;
  for (let at = 0; at < bytes.length; at += pieceBytes) taken += await member.push(bytes.subarray(at, at + pieceBytes));
  return { taken, ended: member.ended, content: Buffer.concat(parts) };
}

/** A member with every optional header field of RFC 1952. */
function decorated(content: Buffer): Buffer {
  const plain = gzipSync(content);
  const header = Buffer.from([0x1f, 0x8b, 8, 4 | 8 | 16 | 2, 0, 0, 0, 0, 0, 3]);
  const fields = [Buffer.from([3, 0, 1, 2, 3]), Buffer.from('name\0'), Buffer.from('comment\0'), Buffer.from([0, 0])];
  return Buffer.concat([header, ...fields, plain.subarray(10)]);
}

test('a member ends where the next one begins, whatever it is cut into', async () => {
  const members = fc.record({
    content: fc.uint8Array({ maxLength: 3000 }),
    repeat: fc.integer({ min: 1, max: 60 }),
    make: fc.constantFrom(gzipSync, decorated, (content: Buffer) => storedGzip([content])),
    after: fc.uint8Array({ maxLength: 40 }),
    pieceBytes: fc.integer({ min: 1, max: 4000 }),
  });
  await fc.assert(
    fc.asyncProperty(members, async ({ content, repeat, make, after, pieceBytes }) => {
      const whole = Buffer.concat(Array.from({ length: repeat }, () => Buffer.from(content)));
      const member = make(whole);
      const bytes = Buffer.concat([member, Buffer.from(after)]);
      assert.deepEqual(inflateMember(bytes, 0, whole.length + 1), { end: member.length, content: whole });
      assert.deepEqual(await stream(bytes, pieceBytes), { taken: member.length, ended: true, content: whole });
    }),
    { numRuns: 60 },
  );
});

test('a member that is cut anywhere asks for more and never ends', async () => {
  const member = decorated(Buffer.from('some text, some more text, some text'));
  for (let length = 0; length < member.length; length += 1) {
    assert.equal(inflateMember(member.subarray(0, length), 0, 1000), undefined, `cut at ${length}`);
    assert.equal((await stream(member.subarray(0, length), 7)).ended, false, `cut at ${length}`);
  }
});

test('inflating stops at the first byte over the cap', async () => {
  const member = gzipSync(Buffer.alloc(1000));
  assert.equal(inflateMember(member, 0, 1000)?.content.length, 1000);
  assert.throws(() => inflateMember(member, 0, 999), code('LIMIT'));
  assert.equal((await stream(member, 5, 1000)).ended, true);
  await assert.rejects(stream(member, 5, 999), code('LIMIT'));

  const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024));
  let seen = 0;
  using big = new MemberStream(1024 * 1024, (piece) => {
    seen += piece.length;
  });
  await assert.rejects(big.push(bomb), code('LIMIT'));
  assert.ok(seen <= 1024 * 1024, `content was handed on beyond the cap: ${seen}`);
});

test('what a reader of the content throws comes out of push', async () => {
  using member = new MemberStream(1e9, () => {
    throw new FormatError('FORMAT_TAR', 'no');
  });
  await assert.rejects(member.push(gzipSync(Buffer.alloc(1000))), code('FORMAT_TAR'));
});

test('no gzip, zlib, reserved flags, damaged data, wrong CRC and wrong length are refused', async () => {
  const good = gzipSync(Buffer.from('hello hello hello'));
  const changed = (at: number): Buffer => {
    const bytes = Buffer.from(good);
    bytes[at] = (bytes[at] ?? 0) ^ 0xff;
    return bytes;
  };
  const bad = {
    text: Buffer.from('<html>not a package</html>'),
    zlib: deflateSync(Buffer.from('hello hello hello')),
    raw: deflateRawSync(Buffer.from('hello hello hello hello')),
    flags: changed(3),
    method: changed(2),
    crc: changed(good.length - 8),
    length: changed(good.length - 1),
  };
  for (const [name, bytes] of Object.entries(bad)) {
    assert.throws(() => inflateMember(bytes, 0, 1000), code('FORMAT_GZIP'), name);
    await assert.rejects(stream(bytes, 1000), code('FORMAT_GZIP'), name);
  }
});

test('deflate blocks without content do not go on for ever', () => {
  const header = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]);
  const empty = Buffer.from([0, 0, 0, 0xff, 0xff]);
  const bytes = Buffer.concat([header, ...Array.from({ length: 40_000 }, () => empty)]);
  assert.throws(() => peekMember(bytes, 0, 512), code('FORMAT_GZIP'));
  assert.throws(() => inflateMember(bytes, 0, 1000), code('LIMIT'));
});
