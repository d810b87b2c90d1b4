import assert from 'node:assert/strict';
import {
  closeSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { kinds } from '../contract/far.ts';

/** Longer than what a put of rsync compares of itself. */
const largeBytes = 65 * 1024 * 1024;
const at = 40_000_000;

for (const kind of kinds.filter(
  ({ name }) => name === 'directory' || name === 'rsync to rrsync' || name === 'sftp to sshd',
)) {
  test(`${kind.name}: a large file whose size and time are right is compared when they prove nothing`, {
    timeout: 300_000,
  }, async (t) => {
    if (kind.missing !== undefined) return t.skip(kind.missing);
    const source = mkdtempSync(join(tmpdir(), 'lockstepd-anew-'));
    t.after(() => rmSync(source, { recursive: true, force: true }));
    const path = 'main/x86_64/large-1-r0.apk';
    mkdirSync(join(source, 'main/x86_64'), { recursive: true });
    closeSync(openSync(join(source, path), 'w'));
    truncateSync(join(source, path), largeBytes);
    utimesSync(join(source, path), 1e9, 1e9);
    await using far = await kind.open();
    const place = far.place('rot');
    cpSync(join(source, 'main'), join(place.root, 'main'), { recursive: true, preserveTimestamps: true });
    const theirs = join(place.root, path);
    const rotten = openSync(theirs, 'r+');
    writeSync(rotten, 'rot', at);
    closeSync(rotten);
    utimesSync(theirs, 1e9, 1e9);
    const transport = place.transport();
    const file = { path, size: largeBytes, mtimeSeconds: 1e9 };
    await transport.put(source, [[file]], { signal: t.signal, anew: true });
    await transport.close();
    const now = Buffer.alloc(3);
    const read = openSync(theirs, 'r');
    readSync(read, now, 0, 3, at);
    closeSync(read);
    assert.deepEqual(now, Buffer.alloc(3));
    assert.deepEqual([statSync(theirs).size, statSync(theirs).mtimeMs], [largeBytes, 1e12]);
  });
}
