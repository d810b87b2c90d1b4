import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { stat } from 'node:fs/promises';
import test from 'node:test';
import { isAlive, lockHolder, uploaderOf } from '../../src/ingest/locks.ts';
import { temporaryDirectory } from '../support/apk.ts';

/** Lines of a real /proc/locks; the device fd:00 is 0xfd00, 8:1 is 0x801. */
const text = [
  '1: FLOCK  ADVISORY  WRITE 706 fd:00:2555 0 EOF',
  '1: -> FLOCK  ADVISORY  WRITE 707 fd:00:2556 0 EOF',
  '2: POSIX  ADVISORY  WRITE 708 fd:00:2557 0 EOF',
  '3: FLOCK  ADVISORY  READ  709 fd:00:2558 0 EOF',
  '4: OFDLCK ADVISORY  WRITE -1 fd:00:2559 0 EOF',
  '5: FLOCK  ADVISORY  WRITE 710 08:01:25 0 EOF',
  '6: FLOCK  ADVISORY  WRITE 711 103:2a:7 0 EOF',
  '',
].join('\n');

for (const [what, device, inode, holder] of [
  ['an exclusive flock', 0xfd00n, 2555n, 706],
  ['a waiter holds nothing', 0xfd00n, 2556n, null],
  ['a POSIX lock is not a flock', 0xfd00n, 2557n, null],
  ['a shared flock is no upload', 0xfd00n, 2558n, null],
  ['an open file description lock is not a flock', 0xfd00n, 2559n, null],
  ['another device', 0x801n, 2555n, null],
  ['the beginning of another inode', 0xfd00n, 255n, null],
  ['a device of one digit', 0x801n, 25n, 710],
] as const) {
  test(`/proc/locks: ${what}`, () => assert.equal(lockHolder(text, device, inode, 'FLOCK'), holder));
}

test('/proc/locks: device numbers of more than eight bits are packed as Linux does', () => {
  const device = (0x103n << 8n) | 0x2an;
  assert.equal(lockHolder(text, device, 7n, 'FLOCK'), 711);
  // Minor 0x12345: the low byte stays, the rest moves above the twelve bits of the major.
  const large = 0x45n | (0x8n << 8n) | (0x123n << 20n);
  assert.equal(lockHolder('1: FLOCK  ADVISORY  WRITE 1 08:12345:9 0 EOF', large, 9n, 'FLOCK'), 1);
});

test('a lock of this kernel is seen while it is held, and not afterwards', async (t) => {
  if (spawnSync('flock', ['--version']).status !== 0) {
    t.skip('flock(1) absent');
    return;
  }
  const directory = temporaryDirectory(t);
  const { dev, ino } = await stat(directory, { bigint: true });
  assert.equal(await uploaderOf(dev, ino), null);
  const holder = spawn('flock', ['--exclusive', directory, 'sh', '-c', 'echo held; read end'], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  t.after(() => holder.kill('SIGKILL'));
  await new Promise((resolve) => holder.stdout.once('data', resolve));
  assert.equal(await uploaderOf(dev, ino), holder.pid);
  assert.equal(isAlive(holder.pid ?? 0), true);
  const ended = new Promise((resolve) => holder.once('close', resolve));
  holder.stdin.end('\n');
  await ended;
  assert.equal(await uploaderOf(dev, ino), null);
  assert.equal(isAlive(holder.pid ?? 0), false);
});

test('/proc/locks: the holder of a lock of either kind is told', () => {
  assert.equal(lockHolder(text, 0xfd00n, 2557n, 'POSIX'), 708);
  assert.equal(lockHolder(text, 0xfd00n, 2557n, 'FLOCK'), null);
  assert.equal(lockHolder(text, 0x801n, 25n, 'FLOCK'), 710);
});
