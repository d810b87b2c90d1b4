/** Our sender against a real rsync that does not take everything: no index comes without its packages, and no run hangs. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import test from 'node:test';
import { sendFiles } from '../../src/replicate/rsync-sender.ts';
import { systemClock } from '../../src/system/clock.ts';
import { startRsyncServer } from '../support/rsync-server.ts';
import { assertGood, makeWorld } from '../support/rsync-world.ts';
import { missingProgram } from '../support/sshd.ts';

const skip = missingProgram('rsync') ? 'rsync is absent' : false;

test('a package that is not taken keeps the index back, and its reason is told', { skip }, async (t) => {
  const world = makeWorld(t);
  mkdirSync(join(world.root, 'r/p.apk/in-the-way'), { recursive: true });
  writeFileSync(join(world.root, 'r/APKINDEX.tar.gz'), 'old');
  const waves = [
    [world.add('r/p.apk', 'package'), world.add('r/q.apk', 'other')],
    [world.add('r/APKINDEX.tar.gz', 'new')],
  ];
  const { remoteCode, said, remoteStderr, taken, wavesDone } = await world.send(waves, { lastTwice: true });
  assert.equal(remoteCode, 23);
  assert.match(said + remoteStderr, /could not make way for .*p\.apk/);
  assert.deepEqual([...taken], ['r/q.apk']);
  assert.equal(wavesDone, 1);
  assert.equal(readFileSync(join(world.root, 'r/APKINDEX.tar.gz'), 'utf8'), 'old');
});

test('what the other side leaves as it is keeps the next wave back, without an error', { skip }, async (t) => {
  const world = makeWorld(t);
  writeFileSync(join(world.root, 'p.apk'), 'there');
  const waves = [[world.add('p.apk', 'package'), world.add('q.apk', 'other')], [world.add('i', 'new')]];
  const result = await world.send(waves, { lastTwice: true, arguments: ['--ignore-existing'] });
  assertGood(result);
  assert.deepEqual([[...result.taken], result.wavesDone], [['q.apk'], 1]);
  assert.ok(!existsSync(join(world.root, 'i')));
});

test('packages that fail when they have been sent end the run, not its patience', {
  skip,
  timeout: 120_000,
}, async (t) => {
  const world = makeWorld(t);
  writeFileSync(join(world.root, 'APKINDEX.tar.gz'), 'old');
  const waves = [[world.add('p.apk', 'package'), world.add('q.apk', 'other')], [world.add('APKINDEX.tar.gz', 'new')]];
  const aside = join(world.source, '.aside');
  mkdirSync(aside);
  const pace = async (): Promise<void> => rmSync(aside, { recursive: true, force: true });
  const { code, remoteCode, remoteStderr, taken } = await world.send(waves, {
    pace,
    arguments: [`--temp-dir=${aside}`],
  });
  assert.deepEqual([code, remoteCode], [23, 23]);
  assert.match(remoteStderr, /mkstemp .* failed: No such file or directory/);
  assert.deepEqual([...taken].sort(), ['p.apk', 'q.apk']);
  assert.equal(readFileSync(join(world.root, 'APKINDEX.tar.gz'), 'utf8'), 'old');
});

test('a word on stderr that means nothing holds nothing up', { skip }, async (t) => {
  const world = makeWorld(t);
  const waves = [[world.add('p.apk', 'package')], [world.add('APKINDEX.tar.gz', 'new')], [world.add('last', 'last')]];
  let said = 0;
  const gossip = new PassThrough();
  const tapped = startRsyncServer(world.root);
  const result = await sendFiles({
    sourceRoot: world.source,
    waves,
    hashed: true,
    lastTwice: true,
    confirms: true,
    clock: systemClock,
    timeoutMs: 60_000,
    remote: { ...tapped.remote, stderr: gossip },
    signal: new AbortController().signal,
    onBytes: (bytes) => {
      if (bytes > 0 && said++ === 0) gossip.write('a warning of nobody');
    },
  });
  assert.deepEqual([result.code, result.remoteCode, result.taken.size], [0, 0, 3]);
  assert.equal(readFileSync(join(world.root, 'last'), 'utf8'), 'last');
});

test('a full disk at the first package keeps the old index', { skip }, async (t) => {
  const world = makeWorld(t);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'none', world.root], { stdio: 'ignore' });
  } catch {
    return t.skip('no file system can be mounted here');
  }
  try {
    writeFileSync(join(world.root, 'APKINDEX.tar.gz'), 'old');
    const packages = [world.add('p.apk', randomBytes(1_000_000)), world.add('q.apk', 'small')];
    const { code, remoteCode, said, remoteStderr } = await world.send([
      packages,
      [world.add('APKINDEX.tar.gz', 'new')],
    ]);
    assert.deepEqual([code, remoteCode], [11, 11]);
    assert.match(said + remoteStderr, /No space left on device/);
    assert.equal(readFileSync(join(world.root, 'APKINDEX.tar.gz'), 'utf8'), 'old');
  } finally {
    execFileSync('umount', ['-l', world.root]);
  }
});

test('a source that is gone, or has another size, ends the run before the index', { skip }, async (t) => {
  const world = makeWorld(t);
  const [one, index] = [world.add('r/p.apk', 'package'), world.add('r/APKINDEX.tar.gz', 'new')];
  await assert.rejects(world.send([[{ ...one, size: 3 }], [index]]), { reason: 'vanished' });
  rmSync(join(world.source, 'r/p.apk'));
  await assert.rejects(world.send([[one], [index]]), { reason: 'vanished' });
  assert.ok(!existsSync(join(world.root, 'r/APKINDEX.tar.gz')));
});

test('a file that changes there while it is compared is asked for again, and comes whole', { skip }, async (t) => {
  const world = makeWorld(t);
  const [old, changed] = [randomBytes(400_000), randomBytes(400_000)];
  const [file, index] = [world.add('r/a', old), world.add('r/i', 'index')];
  mkdirSync(join(world.root, 'r'));
  writeFileSync(join(world.root, 'r/a'), old);
  let isChanged = false;
  // The first pace is asked for when the blocks there are known and none of them has been told.
  const pace = async (): Promise<void> => {
    if (!isChanged) writeFileSync(join(world.root, 'r/a'), changed);
    isChanged = true;
  };
  assertGood(await world.send([[file], [index]], { pace }));
  assert.deepEqual(readFileSync(join(world.root, 'r/a')), old);
});
