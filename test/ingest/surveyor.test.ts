import assert from 'node:assert/strict';
import { mkdir, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { parseTemplate, type Template } from '../../src/config/template.ts';
import { Surveyor } from '../../src/ingest/surveyor.ts';
import { Inbox } from '../../src/ingest/walk.ts';
import { systemClock } from '../../src/system/clock.ts';
import { temporaryDirectory } from '../support/apk.ts';

function template(text: string): Template {
  const parsed = parseTemplate(text);
  assert.ok('value' in parsed);
  return parsed.value;
}

interface World {
  readonly path: string;
  /** Surveys some seconds later; returns the indexes found and the directories that were opened for it. */
  readonly survey: () => Promise<{ readonly found: string[]; readonly opened: string[] }>;
}

async function world(t: TestContext, more: readonly Template[] = []): Promise<World> {
  const path = temporaryDirectory(t);
  for (const name of ['a', 'b', 'c']) {
    await mkdir(join(path, name, 'x86_64'), { recursive: true });
    await writeFile(join(path, name, 'x86_64/APKINDEX.tar.gz'), name);
  }
  const inbox = await Inbox.open(path);
  assert.ok(inbox);
  t.after(() => inbox[Symbol.asyncDispose]());
  let aheadMs = 0;
  const clock = { ...systemClock, now: () => systemClock.now() + aheadMs };
  const surveyor = new Surveyor({
    path,
    repositories: [template('*/{arch}'), ...more],
    maxRepositories: 100,
    clock,
    rescanMs: 60_000,
  });
  return {
    path,
    survey: async () => {
      aheadMs += 5000;
      const opened: string[] = [];
      const directory = (components: readonly string[]): ReturnType<Inbox['directory']> => {
        opened.push(components.join('/'));
        return inbox.directory(components);
      };
      const { indexes } = await surveyor.survey({ place: inbox.place, directory } as Inbox);
      return { found: indexes.map((index) => index.repository), opened };
    },
  };
}

test('what is unchanged is not opened again, what has changed is', async (t) => {
  const { path, survey } = await world(t);
  assert.deepEqual((await survey()).found, ['a/x86_64', 'b/x86_64', 'c/x86_64']);
  assert.deepEqual((await survey()).opened, []);
  // As rsync replaces a file, and as one writes into it.
  await writeFile(join(path, 'b/x86_64/.new'), 'new');
  await rename(join(path, 'b/x86_64/.new'), join(path, 'b/x86_64/APKINDEX.tar.gz'));
  assert.deepEqual((await survey()).opened, ['b/x86_64']);
  await writeFile(join(path, 'c/x86_64/APKINDEX.tar.gz'), 'in place');
  assert.deepEqual((await survey()).opened, ['c/x86_64']);
  assert.deepEqual((await survey()).opened, []);
  await rm(join(path, 'a/x86_64/APKINDEX.tar.gz'));
  assert.deepEqual(await survey(), { found: ['b/x86_64', 'c/x86_64'], opened: ['a/x86_64'] });
});

test('a repository that comes or goes is found, at any level', async (t) => {
  const { path, survey } = await world(t);
  await survey();
  await mkdir(join(path, 'd/x86_64'), { recursive: true });
  await writeFile(join(path, 'd/x86_64/APKINDEX.tar.gz'), 'd');
  assert.deepEqual((await survey()).found, ['a/x86_64', 'b/x86_64', 'c/x86_64', 'd/x86_64']);
  await mkdir(join(path, 'a/armhf'));
  await writeFile(join(path, 'a/armhf/Packages.adb'), 'a');
  assert.deepEqual((await survey()).found, ['a/armhf', 'a/x86_64', 'b/x86_64', 'c/x86_64', 'd/x86_64']);
  await rm(join(path, 'b'), { recursive: true });
  assert.deepEqual((await survey()).found, ['a/armhf', 'a/x86_64', 'c/x86_64', 'd/x86_64']);
});

test('a directory that a template names literally is found when it comes', async (t) => {
  const { path, survey } = await world(t, [template('deep/late/{arch}')]);
  await rm(join(path, 'c'), { recursive: true });
  await survey();
  await mkdir(join(path, 'deep/late/armv7'), { recursive: true });
  await writeFile(join(path, 'deep/late/armv7/APKINDEX.tar.gz'), 'late');
  assert.deepEqual((await survey()).found, ['a/x86_64', 'b/x86_64', 'deep/late/armv7']);
});

test('a time that is set back hides nothing', async (t) => {
  const { path, survey } = await world(t);
  await survey();
  const file = join(path, 'a/x86_64/APKINDEX.tar.gz');
  await writeFile(file, 'b');
  await utimes(file, 1, 1);
  await utimes(join(path, 'a/x86_64'), 1, 1);
  assert.deepEqual((await survey()).opened, ['a/x86_64']);
});
