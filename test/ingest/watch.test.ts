import assert from 'node:assert/strict';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { IndexWatcher } from '../../src/ingest/watch.ts';
import { type Clock, systemClock } from '../../src/system/clock.ts';
import { silentLog } from '../../src/system/log.ts';
import { temporaryDirectory } from '../support/apk.ts';

test('an index is watched, its packages are not, and a directory that is removed and made again is watched anew', {
  timeout: 300_000,
}, async (t) => {
  const inbox = join(temporaryDirectory(t), 'inbox');
  const repository = join(inbox, 'main/x86_64');
  const index = join(repository, 'APKINDEX.tar.gz');
  const paths = [inbox, join(inbox, 'main'), index];
  let heard: string[] = [];
  await using watcher = new IndexWatcher({
    onChange: (path) => heard.push(path),
    clock: systemClock,
    log: silentLog,
  });
  const until = async (what: string, holds: () => boolean): Promise<void> => {
    for (let n = 0; !holds(); n++) {
      assert.ok(n < 3000, what);
      await sleep(20);
    }
  };
  /** Replaces the index as rsync does, again and again: an event may come before the watch is set up. */
  const untilHeard = async (): Promise<void> => {
    for (let n = 0; !heard.includes(index); n++) {
      assert.ok(n < 600, 'the new index is heard of');
      await writeFile(`${index}.new`, String(n));
      await rename(`${index}.new`, index);
      await sleep(100);
    }
  };
  await mkdir(repository, { recursive: true });
  assert.equal(watcher.watch(paths), true);
  assert.equal(watcher.watch(paths), false);
  await untilHeard();
  await sleep(300);
  heard = [];
  for (let n = 0; n < 100; n++) await writeFile(join(repository, `p${n}.apk`), 'x');
  await sleep(300);
  assert.deepEqual(heard, []);
  for (const gone of [inbox, repository]) {
    await rm(gone, { recursive: true });
    await until(`${gone} to be missed`, () => heard.includes(index) && heard.includes(gone));
    await mkdir(repository, { recursive: true });
    await sleep(300);
    heard = [];
    watcher.watch(paths);
    await untilHeard();
  }
});

test('a flood of events ends the watch, once told, until the pause is over', { timeout: 300_000 }, async (t) => {
  const inbox = join(temporaryDirectory(t), 'inbox');
  await mkdir(inbox);
  let now = 0;
  const clock: Clock = { ...systemClock, monotonic: () => now };
  const [heard, warned]: [string[], string[]] = [[], []];
  const log = { ...silentLog, warn: (event: string) => void warned.push(event) };
  await using watcher = new IndexWatcher({ onChange: (path) => heard.push(path), clock, log });
  watcher.watch([inbox]);
  await sleep(300);
  for (let n = 0; warned.length === 0; n++) {
    assert.ok(n < 20_000, 'a flood');
    await writeFile(join(inbox, 'a'), String(n));
    await rm(join(inbox, 'a'));
  }
  assert.equal(heard.at(-1), '');
  assert.equal(watcher.watch([inbox]), false, 'not watched in the pause');
  heard.length = 0;
  for (let n = 0; n < 100; n++) await writeFile(join(inbox, `b${n}`), 'x');
  await sleep(200);
  assert.deepEqual([heard, warned], [[], ['watch_flooded']]);
  now = 31_000;
  assert.equal(watcher.watch([inbox]), true);
  for (let n = 0; heard.length === 0; n++) {
    assert.ok(n < 600, 'watched again');
    await writeFile(join(inbox, `c${n}`), 'x');
    await sleep(100);
  }
});
