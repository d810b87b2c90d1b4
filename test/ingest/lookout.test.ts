import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import test, { type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Lookout } from '../../src/ingest/lookout.ts';
import { systemClock } from '../../src/system/clock.ts';
import { temporaryDirectory } from '../support/apk.ts';

const skip = spawnSync('python3', ['--version']).status === 0 ? false : 'python3 absent';
/** Takes the lock itself, as rrsync does, and lets go of it when a line comes. */
const uploader = `
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
fcntl.flock(fd, fcntl.LOCK_EX)
print('held', flush=True)
sys.stdin.readline()
os.close(fd)
sys.stdin.readline()
`;
/** Longer than any of these tests: what returns before has seen something. */
const pauseMs = 60_000;
const longestMs = 20_000;

/** An upload that holds the lock of `directory`. */
async function upload(t: TestContext, directory: string): Promise<ChildProcess> {
  const child = spawn('python3', ['-c', uploader, directory], { stdio: ['pipe', 'pipe', 'ignore'] });
  t.after(() => child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  return child;
}

function lookoutOf(t: TestContext, directory: string) {
  const lookout = new Lookout(directory, systemClock);
  const stop = new AbortController();
  t.after(() => stop.abort());
  const rest = async (isOpen = false): Promise<boolean> => {
    const place = await lookout.seeUpload();
    await lookout.rest({ pauseMs, isOpen, place, meanwhile: async () => false }, stop.signal);
    return lookout.uploading;
  };
  return { lookout, rest };
}

/** True when `promise` settles before `ms` are over. */
async function settles(promise: Promise<unknown>, ms: number): Promise<boolean> {
  const stop = new AbortController();
  const late = sleep(ms, true, { signal: stop.signal }).catch(() => false);
  const isLate = await Promise.race([promise.then(() => false), late]);
  stop.abort();
  return !isLate;
}

/** Long before the pause is over, and with no upload any more. */
async function assertEnds(resting: Promise<boolean>): Promise<void> {
  assert.equal(await settles(resting, longestMs), true, 'it has seen nothing');
  assert.equal(await resting, false);
}

test('the end of the uploader is the end of the upload', { skip }, async (t) => {
  const directory = temporaryDirectory(t);
  const { rest } = lookoutOf(t, directory);
  const child = await upload(t, directory);
  const resting = rest();
  assert.equal(await settles(resting, 600), false, 'it goes on');
  child.kill('SIGKILL');
  await assertEnds(resting);
});

test('an uploader that lets go and lives on has ended its upload', { skip }, async (t) => {
  const directory = temporaryDirectory(t);
  const { rest } = lookoutOf(t, directory);
  const child = await upload(t, directory);
  const resting = rest();
  assert.equal(await settles(resting, 300), false, 'it goes on');
  child.stdin?.write('on\n');
  await assertEnds(resting);
  assert.equal(child.exitCode, null);
});

test('an event is looked after while the upload goes on', { skip }, async (t) => {
  const directory = temporaryDirectory(t);
  const { lookout, rest } = lookoutOf(t, directory);
  await upload(t, directory);
  const resting = rest();
  assert.equal(await settles(resting, 100), false);
  lookout.wake();
  assert.equal(await resting, true);
  assert.equal(lookout.takeAnnounced(), true);
});

test('an upload of a quarter of a second is seen where something is open', { skip }, async (t) => {
  const directory = temporaryDirectory(t);
  const { rest } = lookoutOf(t, directory);
  const resting = rest(true);
  await sleep(60);
  const child = await upload(t, directory);
  await sleep(250);
  child.kill('SIGKILL');
  await assertEnds(resting);
});
