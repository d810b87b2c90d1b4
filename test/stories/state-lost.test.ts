import assert from 'node:assert/strict';
import { copyFile, mkdir, readdir, readFile, rename, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createSigningKey } from '../../src/apk/make.ts';
import type { SampleRepository } from '../../src/cli/sample-builder.ts';
import { Primary, snapshot } from '../support/primary.ts';

const directoryMirror = (primary: Primary): string =>
  `  - name: disk\n    transport: { type: directory, path: ${join(primary.directory, 'mirrors')} }`;

/** A primary with three generations, the last of which replaced a package, and its mirror in step. */
async function published(): Promise<{ primary: Primary; repository: SampleRepository; database: string }> {
  const primary = await Primary.create();
  await primary.configure({ mirrors: directoryMirror(primary) });
  const repository = primary.repository('main/x86_64');
  for (const name of ['a', 'b', 'c']) repository.set({ name, version: '1-r0', contentBytes: 2000, seed: name.length });
  await primary.start();
  for (const generation of [1, 2, 3]) {
    repository.set({ name: 'a', version: `${generation}-r0`, contentBytes: 3000, seed: generation });
    await repository.write(primary.inbox);
    await primary.untilGeneration(generation);
  }
  await primary.untilInSync('disk', 3);
  return { primary, repository, database: join(primary.directory, 'state/state.db') };
}

/** What is served, without the trace file. */
async function served(directory: string): Promise<ReturnType<typeof snapshot> extends Promise<infer T> ? T : never> {
  const files = await snapshot(directory);
  files.delete('lockstep.json');
  return files;
}

const losses: Readonly<Record<string, (database: string) => Promise<void>>> = {
  'is missing': async (database) => {
    for (const end of ['', '-wal', '-shm']) await rm(`${database}${end}`, { force: true });
  },
  'is garbage': async (database) => {
    await rm(`${database}-wal`, { force: true });
    await writeFile(database, Buffer.alloc(100_000, 'no database '));
  },
  'is truncated': async (database) => {
    await rm(`${database}-wal`, { force: true });
    await truncate(database, 3 * 4096);
  },
  'is empty': async (database) => {
    await rm(`${database}-wal`, { force: true });
    await truncate(database, 0);
  },
  'has a damaged page': async (database) => {
    await rm(`${database}-wal`, { force: true });
    const bytes = await readFile(database);
    bytes.fill(0xa5, 4096, 5 * 4096);
    await writeFile(database, bytes);
  },
};

for (const [what, lose] of Object.entries(losses)) {
  test(`state.db ${what}: the daemon rebuilds it from the trees, and goes on where it was`, {
    timeout: 600_000,
  }, async () => {
    const { primary, repository, database } = await published();
    await using _ = primary;
    await primary.stop();
    const before = await snapshot(primary.public);
    const mirrored = await snapshot(join(primary.directory, 'mirrors'));
    await lose(database);
    const damaged = /garbage|truncated|damaged/.test(what) ? await readFile(database) : null;

    await primary.start();
    assert.match(primary.log, /"event":"state_rebuilt","generation":3,.*"packages":3,"missing":0,"unverified":0,/);
    assert.match(primary.log, /operators' decisions .*digests of indexes that are not kept any more/);
    if (damaged !== null) {
      const aside = (await readdir(join(primary.directory, 'state'))).filter((name) => /corrupt-[0-9T-]+$/.test(name));
      assert.equal(aside.length, 1);
      assert.deepEqual(await readFile(join(primary.directory, 'state', aside[0] ?? '')), damaged);
    }
    await primary.untilInSync('disk', 3);
    await primary.until('the packages to be hashed', () => primary.log.includes('"rebuilt_packages_hashed"'));
    assert.deepEqual(await snapshot(primary.public), before, 'nothing that is served has changed');
    assert.deepEqual(await snapshot(join(primary.directory, 'mirrors')), mirrored, 'nor at the mirror');

    // The same inbox again is nothing new; a new batch is the next generation.
    await repository.write(primary.inbox);
    repository.set({ name: 'd', version: '1-r0', contentBytes: 100, seed: 9 });
    await repository.write(primary.inbox);
    await primary.untilGeneration(4);
    await primary.untilInSync('disk', 4);
    const { generation, repositories } = await primary.status();
    assert.deepEqual([generation, repositories.length, repositories[0]?.packages], [4, 1, 4]);
    const after = await served(primary.public);
    for (const [path, file] of before) {
      if (path.endsWith('.apk')) assert.deepEqual(after.get(path), file, `${path} is in its grace period`);
    }
    assert.equal(await primary.stop(), 0);
    const db = new DatabaseSync(database);
    const rows = db.prepare('SELECT count(*) AS n FROM package WHERE removed IS NULL AND sha256 IS NULL').get();
    assert.equal(rows?.n, 0);
    const history = db.prepare('SELECT number FROM generation ORDER BY number').all();
    assert.deepEqual(
      history.map((row) => row.number),
      [3, 4],
    );
    db.close();
  });
}

test('an index that was published before the state was lost stays refused, though its age says nothing', {
  timeout: 600_000,
}, async () => {
  const { primary, repository, database } = await published();
  await using _ = primary;
  const old = await readFile(join(primary.inbox, 'main/x86_64/APKINDEX.tar.gz'));
  repository.set({ name: 'z', version: '1-r0', contentBytes: 500, seed: 7 });
  await repository.write(primary.inbox);
  await primary.untilGeneration(4);
  await primary.untilInSync('disk', 4);
  await primary.stop();
  await losses['is missing']?.(database);
  // Without guards that look at the age or at what leaves: only the digest can tell.
  const inbox =
    '    settle: 200ms\n    guards: { older_index: allow, mass_removal: allow, downgrade: allow, rebuilt: allow }';
  await primary.configure({ inbox, mirrors: directoryMirror(primary), more: 'schedule: { rescan: 1s }' });
  await primary.start();
  assert.match(primary.log, /"published_before":3/);
  // At once, as builders do it: half of one would be rejected for that.
  await writeFile(join(primary.inbox, 'main/x86_64/.old'), old);
  await rename(join(primary.inbox, 'main/x86_64/.old'), join(primary.inbox, 'main/x86_64/APKINDEX.tar.gz'));
  const refused = await primary.untilBatch('rejected');
  assert.deepEqual(
    refused.reasons.map(({ code, detail }) => [code, /before the state was lost/.test(detail)]),
    [['REPLAY', true]],
  );
  assert.equal((await primary.status()).generation, 4);
});

test('a mirror that was behind when the state was lost is brought in step: what it holds was ours', {
  timeout: 600_000,
}, async () => {
  const { primary, repository, database } = await published();
  await using _ = primary;
  await primary.stop();
  await primary.configure({});
  await primary.start();
  repository.set({ name: 'z', version: '1-r0', contentBytes: 500, seed: 7 });
  await repository.write(primary.inbox);
  await primary.untilGeneration(4);
  await primary.stop();
  await losses['is missing']?.(database);
  await primary.configure({ mirrors: directoryMirror(primary) });
  await primary.start();
  await primary.untilInSync('disk', 4);
});

test('a generation whose record was lost cannot be gone back to: nothing is changed', {
  timeout: 600_000,
}, async () => {
  const { primary, repository, database } = await published();
  await using _ = primary;
  await primary.stop('SIGKILL');
  await losses['is missing']?.(database);
  await primary.start();
  const before = await snapshot(primary.public);
  const back = (to: number): ReturnType<Primary['control']> =>
    primary.control('rollback', { to, repository: null, who: 'alice', why: 'x', dry_run: false });
  for (const lost of [1, 2]) {
    const { status, body } = await back(lost);
    assert.equal(status, 409);
    assert.match(JSON.stringify(body), /is on no record, so nobody knows what it served/);
  }
  assert.deepEqual(await snapshot(primary.public), before);
  repository.set({ name: 'z', version: '1-r0', contentBytes: 500, seed: 7 });
  await repository.write(primary.inbox);
  await primary.untilGeneration(4);
  assert.equal((await back(3)).status, 200);
  await primary.untilGeneration(5);
});

test('after a rebuild the same inbox makes no generation', { timeout: 600_000 }, async () => {
  const { primary, database } = await published();
  await using _ = primary;
  await primary.stop('SIGKILL');
  await losses['is missing']?.(database);
  await primary.configure({ mirrors: directoryMirror(primary), more: 'schedule: { rescan: 1s }' });
  await primary.start();
  // Another repository beside it goes out: then all of the inbox was looked at.
  const beside = primary.repository('main/armhf');
  beside.set({ name: 'n', version: '1-r0', contentBytes: 100, seed: 8 });
  await beside.write(primary.inbox);
  await primary.untilGeneration(4);
  const { generation, repositories } = await primary.status();
  assert.deepEqual(
    [generation, ...repositories.map((one) => [one.path, one.generation])],
    [4, ['main/armhf', 4], ['main/x86_64', 3]],
  );
});

test('a mirror is compared after a rebuild, and not one file is sent to it again', { timeout: 600_000 }, async () => {
  const { primary, database } = await published();
  await using _ = primary;
  await primary.stop();
  const inodes = async (): Promise<[string, bigint][]> => {
    const base = join(primary.directory, 'mirrors/main/x86_64');
    const names = (await readdir(base)).filter((name) => name.endsWith('.apk')).sort();
    return Promise.all(names.map(async (name) => [name, (await stat(join(base, name), { bigint: true })).ino]));
  };
  const before = await inodes();
  await losses['is missing']?.(database);
  await primary.start();
  await primary.untilInSync('disk', 3);
  assert.deepEqual(await inodes(), before);
});

test('a backup that is put back is brought up to what the trees hold, and nothing goes back', {
  timeout: 600_000,
}, async () => {
  const { primary, repository, database } = await published();
  await using _ = primary;
  const copy = join(primary.directory, 'copy.db');
  const db = new DatabaseSync(database, { readOnly: true, timeout: 60_000 });
  db.prepare('VACUUM INTO ?').run(copy);
  db.close();
  repository.remove('b');
  repository.set({ name: 'e', version: '1-r0', contentBytes: 100, seed: 5 });
  await repository.write(primary.inbox);
  await primary.untilGeneration(4);
  await primary.untilInSync('disk', 4);
  await primary.stop();
  const before = await snapshot(primary.public);
  await losses['is missing']?.(database);
  await copyFile(copy, database);
  await primary.start();
  assert.match(primary.log, /"event":"state_behind","recorded":3,"served":4/);
  await primary.untilInSync('disk', 4);
  assert.equal((await primary.status()).generation, 4);
  assert.deepEqual(await snapshot(primary.public), before);
  await primary.stop();
  const now = new DatabaseSync(database);
  const numbers = now.prepare('SELECT number FROM generation ORDER BY number').all();
  now.close();
  assert.deepEqual(
    numbers.map((row) => row.number),
    [1, 2, 3, 4],
    'what the backup knew of the past is still known',
  );
});

test('an index whose key is gone is served on and reported, with every package, until a trusted one comes', {
  timeout: 600_000,
}, async () => {
  const { primary, repository, database } = await published();
  await using _ = primary;
  await primary.stop();
  const before = await served(primary.public);
  await losses['is missing']?.(database);
  await rm(join(primary.directory, 'keys', primary.key.name));
  const other = createSigningKey('other.rsa.pub');
  await writeFile(join(primary.directory, 'keys', other.name), other.publicPem);
  await primary.start();
  assert.match(primary.log, /"event":"state_index_unverified","repository":"main\/x86_64".*"code":"SIG_UNTRUSTED"/);
  assert.match(primary.log, /"unverified":1/);
  assert.deepEqual(await served(primary.public), before);
  // The key comes back: the builder's next batch is an ordinary one.
  await writeFile(join(primary.directory, 'keys', primary.key.name), primary.key.publicPem);
  repository.set({ name: 'd', version: '1-r0', contentBytes: 100, seed: 9 });
  await repository.write(primary.inbox);
  await primary.until('a decision or a generation', async () => {
    const { generation, batches } = await primary.status();
    const held = batches.find((batch) => batch.state === 'held');
    if (held) await primary.control('approve', { batch: held.id, who: 'test', why: 'rebuilt' });
    return generation >= 4;
  });
  const after = await served(primary.public);
  for (const [path, file] of before) if (path.endsWith('.apk')) assert.deepEqual(after.get(path), file, path);
});

test('a daemon that is killed again and again while it rebuilds gets there in the end', {
  timeout: 600_000,
}, async () => {
  const { primary, database } = await published();
  await using _ = primary;
  await primary.stop();
  const before = await snapshot(primary.public);
  // As long as a start takes here and now.
  const beganMs = performance.now();
  await primary.start();
  const startMs = performance.now() - beganMs;
  await primary.stop();
  await losses['is missing']?.(database);
  for (const part of [0.3, 0.5, 0.6, 0.7, 0.8, 0.9]) {
    const starting = primary.start().catch(() => {});
    await sleep(part * startMs);
    await primary.stop('SIGKILL');
    await starting;
    assert.deepEqual(await snapshot(primary.public), before);
  }
  await primary.start();
  await primary.untilInSync('disk', 3);
  assert.deepEqual(await snapshot(primary.public), before);
});

test('a state directory whose state.db is a directory is no damaged database: nothing is moved, the daemon says so', {
  timeout: 600_000,
}, async () => {
  const { primary, database } = await published();
  await using _ = primary;
  await primary.stop();
  await losses['is missing']?.(database);
  await mkdir(database);
  await assert.rejects(primary.start(), /state .*state\.db: cannot be opened/);
  assert.equal((await stat(database)).isDirectory(), true);
});
