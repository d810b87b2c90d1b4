import assert from 'node:assert/strict';
import test from 'node:test';
import { parseListing } from '../../src/replicate/rsync-listing.ts';

test('a listing of rsync becomes files by name', () => {
  const output = [
    'drwxr-xr-x        4096 2026/11/22 19:20:59 .',
    '-rw-r--r--           5 2026/11/22 19:20:57 a b+~é.apk',
    '-rw-r--r--  1234567890 1970/01/01 00:00:01 new\\#012line',
    '-rw-r--r--           0 2026/02/28 23:59:59  two leading',
    '-rw-r--r--           1 2026/02/28 23:59:59 back\\slash and \\#134#012',
    'lrwxrwxrwx           4 2026/02/28 23:59:59 link -> a',
    'prw-r--r--           0 2026/02/28 23:59:59 fifo',
    'some notice of the server',
    '',
  ].join('\n');
  assert.deepEqual(
    [...parseListing(Buffer.from(output))],
    [
      ['a b+~é.apk', { size: 5, mtimeSeconds: Date.UTC(2026, 10, 22, 19, 20, 57) / 1000 }],
      ['new\nline', { size: 1_234_567_890, mtimeSeconds: 1 }],
      [' two leading', { size: 0, mtimeSeconds: Date.UTC(2026, 1, 28, 23, 59, 59) / 1000 }],
      ['back\\slash and \\#012', { size: 1, mtimeSeconds: Date.UTC(2026, 1, 28, 23, 59, 59) / 1000 }],
    ],
  );
});
