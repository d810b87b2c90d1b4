import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { QuickReads } from '../../src/replicate/source.ts';
import { type Clock, systemClock } from '../../src/system/clock.ts';

function start(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'lockstepd-source-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  writeFileSync(join(directory, 'a.apk'), 'package');
  return directory;
}

/** Each look at it takes so long. */
function slowClock(stepMs: number): Clock {
  let nowMs = 0;
  return { ...systemClock, monotonic: () => (nowMs += stepMs) };
}

const file = { path: 'a.apk', size: 7, mtimeSeconds: 1 };

test('files are read at once as long as the disk need not be waited for', (t) => {
  const directory = start(t);
  const quick = new QuickReads(slowClock(4));
  const reads = Array.from({ length: 5 }, () => {
    const target = Buffer.alloc(7);
    const done = quick.read(directory, file, target);
    assert.equal(target.toString(), done ? 'package' : '\0'.repeat(7));
    return done;
  });
  assert.deepEqual(reads, [true, true, true, false, false]);
});

test('a file that is not the planned one has vanished', (t) => {
  const directory = start(t);
  const quick = new QuickReads(slowClock(0));
  symlinkSync('a.apk', join(directory, 'link.apk'));
  for (const other of [
    { ...file, size: 6 },
    { ...file, path: 'b.apk' },
    { ...file, path: 'link.apk' },
  ]) {
    assert.throws(() => quick.read(directory, other, Buffer.alloc(other.size)), { reason: 'vanished' });
  }
});
