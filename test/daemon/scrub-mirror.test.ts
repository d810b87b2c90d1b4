import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import type { QuietWindow } from '../../src/config/quiet.ts';
import { type MirrorScrubDeps, type ScrubbedMirror, scrubMirror } from '../../src/daemon/scrub-mirror.ts';
import { createDirectoryTransport } from '../../src/replicate/directory.ts';
import { systemClock } from '../../src/system/clock.ts';
import { silentLog } from '../../src/system/log.ts';

/** Sweeps a mirror on which a fresh and an old temporary file of a push lie; returns what stays. */
async function sweep(
  t: TestContext,
  primary: string | null,
  takeoverAfterMs: number | null,
  quiet: readonly QuietWindow[] = [],
  phase = 'in-sync',
): Promise<string[]> {
  const path = await mkdtemp(join(tmpdir(), 'lockstepd-sweep-'));
  t.after(() => rm(path, { recursive: true, force: true }));
  const directory = join(path, 'main/x86_64');
  await mkdir(directory, { recursive: true });
  const [fresh, old] = ['.fresh-1-r0.apk.lockstepd-0123ab', '.old-1-r0.apk.lockstepd-0123ab'];
  for (const name of [fresh, old]) await writeFile(join(directory, name), '');
  await utimes(join(directory, old), 1, 1);
  const signal = new AbortController().signal;
  const transport = createDirectoryTransport({ path });
  const mirror = {
    config: {
      name: 'oslo',
      transport: { type: 'directory', path },
      part: { include: [], exclude: [] },
      takeoverAfterMs,
      quiet,
    },
    worker: {
      state: { phase },
      attempts: 0,
      errand: (work: (to: typeof transport, inner: AbortSignal) => Promise<unknown>) => work(transport, signal),
    },
  } as unknown as ScrubbedMirror;
  const store = {
    damage: { repositories: () => ['main/x86_64'] },
    generations: { current: () => ({ number: 1 }) },
    mirrors: { get: () => ({ confirmed: 1 }) },
  };
  const deps = { store, clock: systemClock, random: () => 0, log: silentLog, graceMs: 0, primary };
  const options = { temporaryOnly: true, sample: 1, pace: () => Promise.resolve(), onProgress: () => {} };
  const { outcome, detail } = await scrubMirror(mirror, deps as unknown as MirrorScrubDeps, options, signal);
  assert.equal(outcome, quiet.length === 0 && phase === 'in-sync' ? 'done' : 'skipped');
  assert.equal(detail?.includes('blocked') ?? false, phase === 'blocked');
  return readdir(directory);
}

test('left-over temporary files go; where another primary pushes too, a fresh one may be of the push that it makes', async (t) => {
  assert.deepEqual(await sweep(t, null, null), []);
  assert.deepEqual(await sweep(t, 'one.example.org', null), ['.fresh-1-r0.apk.lockstepd-0123ab']);
  assert.deepEqual(await sweep(t, null, 60_000), ['.fresh-1-r0.apk.lockstepd-0123ab']);
});

test('in a quiet window a mirror is left alone', async (t) => {
  const always = [
    { from: 0, to: 720, zone: 'UTC' },
    { from: 720, to: 1440, zone: 'UTC' },
  ];
  assert.equal((await sweep(t, null, null, always)).length, 2);
});

// Its clock is the real one: waited for, it would take a minute.
test('a mirror that is blocked is left alone, and not waited for', { timeout: 20_000 }, async (t) => {
  assert.equal((await sweep(t, null, null, [], 'blocked')).length, 2);
});
