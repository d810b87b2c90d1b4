import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import * as fc from 'fast-check';
import { applySteps } from '../../src/publish/apply.ts';
import { inPieces } from '../../src/system/pieces.ts';
import { temporaryDirectory } from '../support/apk.ts';
import { type Content, expectedFiles, graceMs, PublishWorld } from './world.ts';

async function start(t: TestContext, options?: ConstructorParameters<typeof PublishWorld>[1]): Promise<PublishWorld> {
  const world = new PublishWorld(temporaryDirectory(t), options);
  await world.publisher.recover();
  t.after(async () => {
    await world.publisher.stop();
    world[Symbol.dispose]();
  });
  return world;
}

function withoutTrace(files: Record<string, string>): Record<string, string> {
  const { 'lockstep.json': _, ...rest } = files;
  return rest;
}

test('a generation is served through one relative link, with its trace and nothing but real files', async (t) => {
  const previous = process.umask(0o077);
  t.after(() => process.umask(previous));
  const world = await start(t);
  const wanted = { 'main/x86_64': { 'a@1': 'AAA', 'b@1': 'BB' }, 'deep/er/armhf': { 'c@1': 'C' } };
  const generation = await world.publish(wanted);
  assert.equal(generation.number, 1);
  assert.equal(readlinkSync(world.public), 'trees/a');
  assert.deepEqual(withoutTrace(world.files()), expectedFiles(wanted));
  const trace = JSON.parse(world.files()['lockstep.json'] ?? '');
  assert.deepEqual(
    trace.repositories.map((r: { path: string; packages: number }) => [r.path, r.packages]),
    [
      ['deep/er/armhf', 1],
      ['main/x86_64', 2],
    ],
  );
  for (const entry of readdirSync(join(world.root, 'trees'), { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const { mode } = lstatSync(path);
    if (entry.isDirectory()) assert.equal(mode & 0o7777, 0o755, path);
    else assert.ok(entry.isFile(), path);
  }
  assert.equal(statSync(join(world.root, 'trees')).mode & 0o7777, 0o755);
  assert.equal(statSync(join(world.root, 'ingest')).mode & 0o7777, 0o700);
  assert.equal(world.mtime('main/x86_64/a-1.apk'), 1_600_000_000, 'a package keeps its time');
});

test('indexes and trace get later whole seconds each time, though the clock stands still or goes back', async (t) => {
  const world = await start(t);
  const seen: number[][] = [];
  for (let n = 0; n < 4; n++) {
    if (n === 2) world.clock.nowMs -= 3600_000;
    await world.publish({ 'main/x86_64': { [`a@${n}`]: `A${n}` } });
    seen.push(['main/x86_64/APKINDEX.tar.gz', 'lockstep.json'].map((path) => world.mtime(path)));
  }
  for (const [n, times] of seen.entries()) {
    assert.ok(times.every(Number.isInteger));
    for (const [which, time] of times.entries()) assert.ok(n === 0 || time > (seen[n - 1]?.[which] ?? Infinity));
  }
});

test('a rebuilt package of the same name is right in every tree, whichever tree catches up from wherever', async (t) => {
  const contents = fc.array(
    fc.dictionary(fc.constantFrom('a@1', 'b@1', 'c@1', 'c@2'), fc.constantFrom('x', 'yy', 'zzz'), { minKeys: 1 }),
    { minLength: 1, maxLength: 6 },
  );
  const trees = fc.record({ keepTreesForMs: fc.constantFrom(0, 10_000), maxTrees: fc.integer({ min: 2, max: 4 }) });
  await fc.assert(
    fc.asyncProperty(
      contents,
      trees,
      fc.array(fc.boolean(), { minLength: 6, maxLength: 6 }),
      async (list, options, restarts) => {
        const world = new PublishWorld(temporaryDirectory(t), options);
        await world.publisher.recover();
        for (const [n, content] of list.entries()) {
          // Equal indexes in a row are not published again by the ingest; a generation number in the index keeps them apart.
          const wanted: Record<string, Content> = { 'main/x86_64': { ...content, [`n@${n}`]: String(n) } };
          await world.publish(wanted);
          const files = world.files();
          for (const [path, bytes] of Object.entries(expectedFiles(wanted))) assert.equal(files[path], bytes, path);
          world.clock.nowMs += 6000;
          if (restarts[n]) await world.restart();
        }
        await world.publisher.stop();
        world[Symbol.dispose]();
      },
    ),
    { numRuns: 60 },
  );
});

test('a package stays for the grace period after it left, then goes from all trees; one that came back stays', async (t) => {
  const world = await start(t, { keepTreesForMs: 10_000_000_000, maxTrees: 3 });
  await world.publish({ 'main/x86_64': { 'a@1': 'A', 'b@1': 'B', 'c@1': 'C' } });
  await world.publish({ 'main/x86_64': { 'c@1': 'C' } });
  world.clock.nowMs += graceMs / 2;
  await world.publish({ 'main/x86_64': { 'b@1': 'B', 'c@1': 'C' } });
  const names = (): string[] =>
    Object.keys(withoutTrace(world.files())).map((path) => path.slice('main/x86_64/'.length));
  assert.equal(await world.publisher.prune(), 0);
  assert.deepEqual(names(), ['APKINDEX.tar.gz', 'a-1.apk', 'b-1.apk', 'c-1.apk']);
  world.clock.nowMs += graceMs / 2 - 1;
  assert.equal(await world.publisher.prune(), 0, 'not a millisecond early');
  world.clock.nowMs += 1;
  assert.equal(await world.publisher.prune(), 1);
  assert.deepEqual(names(), ['APKINDEX.tar.gz', 'b-1.apk', 'c-1.apk']);
  for (const tree of readdirSync(join(world.root, 'trees')))
    assert.equal(existsSync(join(world.root, 'trees', tree, 'main/x86_64/a-1.apk')), false, tree);
  assert.equal(await world.publisher.prune(), 0);
  await world.publish({ 'main/x86_64': { 'b@1': 'B', 'd@1': 'D' } });
  assert.deepEqual(names(), ['APKINDEX.tar.gz', 'b-1.apk', 'c-1.apk', 'd-1.apk'], 'no tree brings it back');
});

test('a tree that somebody reads is left alone, even if that means one tree more', async (t) => {
  const world = await start(t);
  await world.publish({ 'main/x86_64': { 'a@1': 'A' } });
  const lease = world.publisher.lease();
  assert.ok(lease);
  const before = world.files(world.servedTree);
  for (let n = 2; n < 6; n++) await world.publish({ 'main/x86_64': { [`a@${n}`]: `A${n}` } });
  assert.deepEqual(world.files(lease.directory.split('/').at(-1)), before);
  const trees = readdirSync(join(world.root, 'trees')).length;
  lease.release();
  for (let n = 6; n < 10; n++) await world.publish({ 'main/x86_64': { [`a@${n}`]: `A${n}` } });
  assert.equal(readdirSync(join(world.root, 'trees')).length, trees);
});

test('a source is told while the generation is pending, not afterwards', async (t) => {
  const world = await start(t);
  await world.publish({ 'main/x86_64': { 'a@1': 'A' } });
  const [page] = world.store.generations.packagesOf('main/x86_64', 1);
  assert.equal(page?.[0]?.source, null);
  assert.equal(world.store.generations.indexesAt(1)[0]?.source, null);
});

/** How far a publish came before the power was cut. */
const cuts = [
  'recorded in part',
  'recorded',
  'half linked',
  'all linked',
  'switched',
  'switched, old temporaries left',
] as const;
for (const cut of cuts) {
  test(`cut off when ${cut}: the next start serves the old generation or the new one, whole, and goes on`, async (t) => {
    const world = await start(t);
    const old = { 'main/x86_64': { 'a@1': 'A', 'b@1': 'B' } };
    const next = { 'main/x86_64': { 'a@1': 'A', 'b@1': 'rebuilt', 'c@1': 'C' } };
    await world.publish(old);
    await world.publisher.stop();
    const { store, root } = world;
    const change = await world.stage('main/x86_64', next['main/x86_64']);
    const { sha256, size, packages, signedBy } = change.index;
    const index = {
      file: 'APKINDEX.tar.gz' as const,
      sha256,
      size,
      packages,
      signedBy,
      description: null,
      newestBuildTime: null,
      mtimeSeconds: 1_800_000_000,
      builder: 'b',
      source: change.indexSource,
    };
    const batch = world.batch([change]);
    const generation = {
      number: 2,
      publishedAtMs: world.clock.nowMs,
      tree: 'b',
      batch: batch.id,
      added: 0,
      removed: 0,
    };
    const recording = store.journal.begin(generation, [{ ...change, index }]);
    const from = store.generations.trees().find((tree) => tree.name === 'b')?.generation ?? 0;
    store.generations.setTree('b', from, null);
    if (cut === 'recorded in part') {
      // What a large batch leaves after some pieces; small ones are recorded in one.
      await inPieces(recording);
      const raw = store.journal.forget(2);
      raw.next();
      assert.equal(store.journal.unfinished(), 2);
    } else {
      await inPieces(recording);
      const [page = []] = store.generations.packagesForTree(from, 2);
      const links = page.map((row) => ({
        kind: 'link' as const,
        source: row.source ?? `trees/a/${row.repository}/${row.file}`,
        path: `trees/b/${row.repository}/${row.file}`,
      }));
      assert.equal(links.length, from === 0 ? 3 : 2);
      if (cut !== 'recorded') await applySteps(root, cut === 'half linked' ? links.slice(0, 1) : links);
      if (cut.startsWith('switched')) {
        await applySteps(root, [
          { kind: 'link', source: change.indexSource, path: 'trees/b/main/x86_64/APKINDEX.tar.gz' },
          { kind: 'switch', tree: 'b' },
        ]);
      }
      if (cut.endsWith('left')) {
        writeFileSync(join(root, 'ingest/.publish-7'), 'left over');
        symlinkSync('trees/b', join(root, 'ingest/.publish-8'));
      }
    }
    await world.restart();
    const finished = cut !== 'recorded in part';
    assert.deepEqual(world.store.generations.current()?.number, finished ? 2 : 1);
    const files = world.files();
    for (const [path, bytes] of Object.entries(expectedFiles(finished ? next : old)))
      assert.equal(files[path], bytes, path);
    assert.equal(world.store.journal.pending(), null);
    assert.equal(world.store.journal.unfinished(), null);
    assert.deepEqual(readdirSync(join(root, 'ingest')), []);
    assert.equal(world.store.batches.get(batch.id)?.state, finished ? 'published' : 'waiting');
    const last = { 'main/x86_64': { 'b@1': 'again', 'd@1': 'D' } };
    assert.equal((await world.publish(last)).number, finished ? 3 : 2);
    const after = world.files();
    for (const [path, bytes] of Object.entries(expectedFiles(last))) assert.equal(after[path], bytes, path);
  });
}

test('the copies of a pending generation are gone: it is forgotten, the old one is served', async (t) => {
  const world = await start(t);
  const old = { 'main/x86_64': { 'a@1': 'A' } };
  await world.publish(old);
  await world.publisher.stop();
  const change = await world.stage('main/x86_64', { 'b@1': 'B' });
  const { sha256, size, packages, signedBy } = change.index;
  const index = {
    file: 'APKINDEX.tar.gz' as const,
    sha256,
    size,
    packages,
    signedBy,
    description: null,
    newestBuildTime: null,
    mtimeSeconds: 1_800_000_000,
    builder: 'b',
    source: change.indexSource,
  };
  const batch = world.batch([change]);
  const generation = { number: 2, publishedAtMs: 1, tree: 'b', batch: batch.id, added: 0, removed: 0 };
  await inPieces(world.store.journal.begin(generation, [{ ...change, index }]));
  rmSync(join(world.root, 'ingest'), { recursive: true });
  await world.restart();
  assert.equal(world.store.generations.current()?.number, 1);
  assert.deepEqual(withoutTrace(world.files()), expectedFiles(old));
  assert.deepEqual(
    [...world.store.generations.packagesOf('main/x86_64', 1)].flat().map((p) => p.file),
    ['a-1.apk'],
  );
});

test('a candidate that was compared with an older state is refused, and nothing changes', async (t) => {
  const world = await start(t);
  await world.publish({ 'main/x86_64': { 'a@1': 'A' } });
  const stale = await world.stage('main/x86_64', { 'b@1': 'B' });
  await world.publish({ 'main/x86_64': { 'c@1': 'C' } });
  const before = world.files();
  await assert.rejects(world.publisher.publish(world.batch([stale])), { name: 'OperationError', code: 'STATE' });
  assert.deepEqual(world.files(), before);
  assert.equal(world.store.generations.current()?.number, 2);
});

test('a private copy that is missing fails the publish; nothing is recorded, the next batch goes through', async (t) => {
  const world = await start(t);
  const old = { 'main/x86_64': { 'a@1': 'A' } };
  await world.publish(old);
  const change = await world.stage('main/x86_64', { 'a@1': 'A', 'b@1': 'B', 'c@1': 'C' });
  const [first] = readdirSync(join(world.root, 'ingest/b'))
    .filter((name) => name.endsWith('.apk'))
    .sort()
    .slice(-1);
  rmSync(join(world.root, 'ingest/b', first ?? ''));
  await assert.rejects(world.publisher.publish(world.batch([change])), { code: 'ENOENT' });
  assert.deepEqual(withoutTrace(world.files()), expectedFiles(old));
  assert.equal(world.store.journal.pending(), null);
  assert.equal((await world.publish({ 'main/x86_64': { 'b@1': 'B' } })).number, 2);
});

test('a disk that fills up while links are made: nothing is recorded, and the next batch goes through', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'lockstepd-test-'));
  const root = join(directory, 'srv');
  mkdirSync(root);
  // On a tmpfs each name costs an inode: forty are soon used up.
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'nr_inodes=60', 'tmpfs', root]);
  if (mounted.status !== 0) {
    rmSync(directory, { recursive: true });
    t.skip(`no tmpfs can be mounted here: ${String(mounted.stderr).trim()}`);
    return;
  }
  const world = new PublishWorld(directory);
  t.after(async () => {
    await world.publisher.stop();
    world[Symbol.dispose]();
    spawnSync('umount', ['-l', root]);
    rmSync(directory, { recursive: true });
  });
  await world.publisher.recover();
  const old = { 'main/x86_64': { 'a@1': 'A' } };
  await world.publish(old);
  const many = (count: number): Content =>
    Object.fromEntries(Array.from({ length: count }, (_, n) => [`p${n}@1`, `P${n}`]));
  const change = await world.stage('main/x86_64', many(30));
  await assert.rejects(world.publisher.publish(world.batch([change])), { code: 'ENOSPC' });
  assert.deepEqual(withoutTrace(world.files()), expectedFiles(old));
  assert.equal(world.store.generations.current()?.number, 1);
  assert.equal(world.store.journal.pending(), null);
  for (const name of readdirSync(join(root, 'ingest/b'))) rmSync(join(root, 'ingest/b', name));
  const next = { 'main/x86_64': { 'a@1': 'A', 'b@1': 'B' } };
  assert.equal((await world.publish(next)).number, 2);
  assert.deepEqual(withoutTrace(world.files()), expectedFiles(next));
});

test('the record cannot be written after the link was switched: what is served stays, the next batch records it first', async (t) => {
  const world = await start(t);
  await world.publish({ 'main/x86_64': { 'a@1': 'A' } });
  const { journal } = world.store;
  const commit = t.mock.method(journal, 'commit', () => {
    throw new Error('database or disk is full');
  });
  const second = { 'main/x86_64': { 'b@1': 'B' } };
  await assert.rejects(world.publish(second), /disk is full/);
  for (const [path, bytes] of Object.entries(expectedFiles(second))) assert.equal(world.files()[path], bytes, path);
  commit.mock.restore();
  const third = { 'main/x86_64': { 'b@1': 'B', 'c@1': 'C' } };
  assert.equal((await world.publish(third)).number, 3);
  for (const [path, bytes] of Object.entries(expectedFiles(third))) assert.equal(world.files()[path], bytes, path);
});

test('the link is brought in line with the store: absent, or naming another tree', async (t) => {
  const world = await start(t);
  const wanted = { 'main/x86_64': { 'a@1': 'A' } };
  await world.publish({ 'main/x86_64': { 'z@1': 'Z' } });
  await world.publish(wanted);
  const tree = world.servedTree;
  rmSync(world.public);
  await world.restart();
  assert.equal(world.servedTree, tree);
  rmSync(world.public);
  symlinkSync(tree === 'a' ? 'trees/b' : 'trees/a', world.public);
  await world.restart();
  assert.equal(world.servedTree, tree);
});

test('a public that lockstepd did not make is refused and left alone', async (t) => {
  const world = await start(t);
  mkdirSync(world.public);
  writeFileSync(join(world.public, 'index.html'), 'mine');
  await assert.rejects(world.publisher.recover(), { code: 'LAYOUT', message: /move it away/ });
  rmSync(world.public, { recursive: true });
  for (const target of ['/etc', 'trees/../state', 'trees/A', 'trees']) {
    symlinkSync(target, world.public);
    await assert.rejects(world.publisher.recover(), { code: 'LAYOUT' }, target);
    rmSync(world.public);
  }
});

test('a store that was lost and not rebuilt is refused: nothing that is served is touched', async (t) => {
  const world = await start(t);
  await world.publish({ 'main/x86_64': { 'a@1': 'A' } });
  await world.publish({ 'main/x86_64': { 'b@1': 'B' } });
  const [tree, before] = [world.servedTree, world.files()];
  await world.publisher.stop();
  const other = new PublishWorld(temporaryDirectory(t));
  t.after(() => other[Symbol.dispose]());
  rmSync(other.root, { recursive: true });
  renameSync(world.root, other.root);
  await assert.rejects(other.publisher.recover(), { code: 'STATE', message: /is served and not on record/ });
  assert.equal(other.servedTree, tree);
  assert.deepEqual(other.files(), before);
});

test('a link that somebody has turned to a tree that nobody knows is turned back, and that tree goes', async (t) => {
  const world = await start(t);
  await world.publish({ 'main/x86_64': { 'a@1': 'A' } });
  const [tree, before] = [world.servedTree, world.files()];
  mkdirSync(join(world.root, 'trees/z'));
  rmSync(world.public);
  symlinkSync('trees/z', world.public);
  await world.restart();
  assert.equal(world.servedTree, tree);
  assert.deepEqual(world.files(), before);
  assert.ok(!readdirSync(join(world.root, 'trees')).includes('z'));
});
