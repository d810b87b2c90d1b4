import assert from 'node:assert/strict';
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import { Glance } from '../../src/ingest/glance.ts';
import { Inbox } from '../../src/ingest/walk.ts';
import { systemClock } from '../../src/system/clock.ts';
import { temporaryDirectory } from '../support/apk.ts';

test('a glance finds what has changed since the survey, once, and not more often than once a second', async (t) => {
  const path = temporaryDirectory(t);
  await mkdir(join(path, 'a/x86_64'), { recursive: true });
  const file = join(path, 'a/x86_64/APKINDEX.tar.gz');
  await writeFile(file, 'one');
  let now = 0;
  const glance = new Glance(path, { ...systemClock, monotonic: () => now });
  const survey = async (name = 'APKINDEX.tar.gz'): Promise<void> => {
    await using inbox = await Inbox.open(path);
    await using directory = await inbox?.directory(['a', 'x86_64']);
    const seen = await directory?.see(name);
    assert.ok(seen);
    glance.set([{ path: `a/x86_64/${name}`, stat: seen.stat }]);
  };
  const later = (): Promise<boolean> => {
    now += 1000;
    return glance.changed();
  };
  await survey();
  assert.equal(await later(), false);
  // Of another length: its time may be that of the first one, as far as the file system tells times apart.
  await writeFile(file, 'second');
  assert.equal(await glance.changed(), false, 'not due');
  assert.equal(await later(), true);
  assert.equal(await later(), false, 'told once');
  await survey();
  assert.equal(await later(), false, 'as surveyed');
  await rm(file);
  assert.equal(await later(), true);
  // What is followed by the survey looks different to a glance: it must not wake for ever.
  await writeFile(join(path, 'a/x86_64/real'), 'index');
  await symlink('real', file);
  await survey();
  await later();
  assert.equal(await later(), false);
  await survey();
  assert.equal(await later(), false);
});
