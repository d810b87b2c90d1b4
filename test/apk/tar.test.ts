import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { tarFile } from '../../src/apk/make.ts';
import { TarReader } from '../../src/apk/tar.ts';
import { FormatError } from '../../src/errors.ts';

const code = (expected: string) => (error: unknown) => error instanceof FormatError && error.code === expected;

function readTar(
  bytes: Buffer,
  endBlocks: 'allowed' | 'refused' = 'allowed',
  pieceBytes = bytes.length,
): [string, string][] {
  const found: [string, string][] = [];
  const tar = new TarReader(
    {
      entry: ({ name }) => void found.push([name, '']),
      content: (piece) => {
        const last = found.at(-1);
        if (last !== undefined) last[1] += piece.toString('latin1');
      },
    },
    { endBlocks },
  );
  for (let at = 0; at < bytes.length; at += pieceBytes) tar.push(bytes.subarray(at, at + pieceBytes));
  tar.finish();
  return found;
}

/** An entry with a changed header and the right checksum for it. */
function entry(change: (header: Buffer) => void, content = ''): Buffer {
  const bytes = tarFile('name', Buffer.from(content), 0);
  change(bytes);
  bytes.fill(' ', 148, 156);
  const sum = bytes.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return bytes;
}

const typed = (type: string, content: string): Buffer => entry((header) => header.write(type, 156), content);
const end = Buffer.alloc(1024);

test('entries come out whole however the stream is cut', () => {
  const bytes = Buffer.concat([
    tarFile('a', Buffer.from('first'), 0),
    tarFile('b', Buffer.alloc(0), 0),
    tarFile('c', Buffer.from('x'.repeat(1024)), 0),
    end,
  ]);
  const expected = readTar(bytes);
  assert.deepEqual(
    expected.map(([name, content]) => [name, content.length]),
    [
      ['a', 5],
      ['b', 0],
      ['c', 1024],
    ],
  );
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1500 }), (pieceBytes) => {
      assert.deepEqual(readTar(bytes, 'allowed', pieceBytes), expected);
    }),
    { numRuns: 50 },
  );
});

test('pax path, GNU long name and ustar prefix give the name; a global header does not', () => {
  const pax = typed('x', '19 path=other/name\n');
  const prefixed = entry((header) => header.write('some/dir', 345));
  const bytes = Buffer.concat([
    pax,
    entry(() => {}),
    typed('L', 'long/name\0'),
    entry(() => {}),
    typed('g', '13 path=evil\n'),
    prefixed,
  ]);
  assert.deepEqual(
    readTar(bytes).map(([name]) => name),
    ['other/name', 'long/name', 'some/dir/name'],
  );
});

const refused: Record<string, Buffer> = {
  'wrong checksum': (() => {
    const bytes = entry(() => {});
    bytes[0] = 0x41;
    return bytes;
  })(),
  'no magic': entry((header) => header.write('xstar', 257)),
  'base-256 size': entry((header) => header.fill(0x80, 124, 125)),
  'negative size': entry((header) => header.write('-0000000001', 124)),
  'size with garbage': entry((header) => header.write('0000000000x', 124)),
  'mode no octal': entry((header) => header.write('888', 100)),
  'cut in an entry': entry(() => {}, 'content').subarray(0, 700),
  'cut in a header': entry(() => {}).subarray(0, 100),
  'pax header at the end': typed('x', '12 path=abc\n'),
  'damaged pax header': Buffer.concat([typed('x', '99 path=abc\n'), entry(() => {})]),
  'pax size': Buffer.concat([typed('x', '10 size=5\n'), entry(() => {})]),
  'entry after the end': Buffer.concat([end, entry(() => {})]),
};
for (const [name, bytes] of Object.entries(refused)) {
  test(`refused: ${name}`, () => assert.throws(() => readTar(bytes), code('FORMAT_TAR')));
}

test('end blocks are refused where another member follows', () => {
  const bytes = Buffer.concat([entry(() => {}), end]);
  assert.equal(readTar(bytes).length, 1);
  assert.throws(() => readTar(bytes, 'refused'), code('FORMAT_TAR'));
});

test('a pax header over the limit is refused before its content is read', () => {
  const header = entry((bytes) => {
    bytes.write('x', 156);
    bytes.write('10000000000', 124);
  });
  assert.throws(() => readTar(header.subarray(0, 512)), code('LIMIT'));
});
