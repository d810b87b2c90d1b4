import assert from 'node:assert/strict';
import { DatabaseSync } from 'node:sqlite';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import * as fc from 'fast-check';
import { packageFileName } from '../../src/apk/entry.ts';
import type { NewBatch } from '../../src/store/batches.ts';
import { Bits } from '../../src/store/bits.ts';
import type { RepositoryChange } from '../../src/store/journal.ts';
import type { Difference } from '../../src/store/staging.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { inPieces } from '../../src/system/pieces.ts';
import { type Content, entriesOf, entryOf } from '../publish/world.ts';
import { temporaryDirectory } from '../support/apk.ts';

function open(t: TestContext): Store {
  const store = openStore(temporaryDirectory(t));
  t.after(() => store[Symbol.dispose]());
  return store;
}

/** Stages an index; every package of it is ready but those named in `absent`. */
async function stage(
  store: Store,
  content: Content,
  options: { readonly repository?: string; readonly builder?: string; readonly absent?: readonly string[] } = {},
): Promise<RepositoryChange & Difference> {
  const { repository = 'main/x86_64', builder = 'b', absent = [] } = options;
  const { staging } = store;
  const candidate = staging.newCandidate(builder, repository, 'APKINDEX.tar.gz');
  staging.add(candidate, entriesOf(content));
  const difference = await inPieces(staging.compare(candidate));
  for (const page of staging.rows(candidate, ['missing'])) {
    for (const row of page) {
      if (absent.includes(row.file)) continue;
      const source = `ingest/${row.id}`;
      staging.setReady(row.id, {
        source,
        sha256: row.entry.identity,
        mtimeSeconds: 1,
        packageArch: 'x86_64',
        signedBy: null,
      });
    }
  }
  const index = {
    file: 'APKINDEX.tar.gz' as const,
    sha256: JSON.stringify(content),
    size: 1,
    mtimeSeconds: 1,
    packages: 1,
    signedBy: 'k',
    builder,
    source: 'i',
    description: null,
    newestBuildTime: null,
  };
  return { ...difference, repository, candidate, index };
}

async function publish(store: Store, changes: readonly RepositoryChange[]): Promise<number> {
  const number = (store.generations.current()?.number ?? 0) + 1;
  const generation = { number, publishedAtMs: number * 1000, tree: 'a', batch: '', added: 0, removed: 0 };
  store.journal.commit(await inPieces(store.journal.begin(generation, changes)), null, number * 1000);
  return number;
}

function filesOf(store: Store, at: number, repository = 'main/x86_64'): string[] {
  return [...store.generations.packagesOf(repository, at)].flat().map((p) => `${p.file} ${p.sha256}`);
}

function filesIn(content: Content): string[] {
  return entriesOf(content)
    .map((e) => `${packageFileName(e)} ${e.identity}`)
    .sort();
}

const anyContent = fc.dictionary(
  fc.constantFrom('a@1', 'a@2', 'b@1', 'c@1', 'c-d@1', 'c-d@2'),
  fc.constantFrom('x', 'y', 'zz'),
);

test('what is staged, what leaves and what has no successor is what comparing two lists gives', async (t) => {
  const directory = temporaryDirectory(t);
  let n = 0;
  await fc.assert(
    fc.asyncProperty(anyContent, anyContent, async (before, after) => {
      using store = openStore(join(directory, String(n++)));
      await publish(store, [await stage(store, before)]);
      const change = await stage(store, after);
      const [had, has] = [entriesOf(before), entriesOf(after)];
      const names = new Set(has.map((e) => e.name));
      assert.equal(change.base, 1);
      assert.equal(change.live, had.length);
      assert.equal(change.removals, had.filter((e) => !names.has(e.name)).length);
      const staged = [...store.staging.rows(change.candidate, ['ready'])]
        .flat()
        .map((r) => `${r.file} ${r.entry.identity}`);
      assert.deepEqual(
        staged.sort(),
        filesIn(after).filter((f) => !filesIn(before).includes(f)),
      );
      await publish(store, [change]);
      assert.deepEqual(filesOf(store, 2).sort(), filesIn(after));
      assert.deepEqual(filesOf(store, 1).sort(), filesIn(before), 'the past stays as it was');
    }),
    { numRuns: 80 },
  );
});

test('what a mirror or a tree lacks between two generations is what they need to get there', async (t) => {
  const directory = temporaryDirectory(t);
  let n = 0;
  const history = fc.array(anyContent, { minLength: 2, maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(history, fc.nat(5), fc.nat(5), async (contents, x, y) => {
      using store = openStore(join(directory, String(n++)));
      for (const content of contents) await publish(store, [await stage(store, content)]);
      const [from, to] = [x % (contents.length + 1), contents.length - (y % contents.length)];
      if (from > to) return;
      const lines = (pages: Iterable<readonly { file: string; sha256: string | null }[]>): string[] =>
        [...pages].flat().map((p) => `${p.file} ${p.sha256}`);
      const target = filesOf(store, to);
      const held = from === 0 ? [] : filesOf(store, from);
      const sent = lines(store.generations.packagesForMirror(from, to));
      assert.deepEqual([...new Set([...held.filter((f) => target.includes(f)), ...sent])].sort(), [...target].sort());
      const linked = lines(store.generations.packagesForTree(from, to));
      assert.equal(new Set(linked.map((l) => l.split(' ')[0])).size, linked.length, 'each path once');
      const tree = new Map([...held, ...linked].map((l) => [l.split(' ')[0], l]));
      for (const line of target) assert.equal(tree.get(line.split(' ')[0]), line, 'the bytes that came last');
    }),
    { numRuns: 80 },
  );
});

test('a publish that was begun and taken back, at whatever piece, leaves no trace', async (t) => {
  const many = (from: number, to: number): Content =>
    Object.fromEntries(Array.from({ length: to - from }, (_, n) => [`p${from + n}@1`, `P${from + n}`]));
  const store = open(t);
  await publish(store, [await stage(store, many(0, 4500))]);
  const dump = (): unknown => [
    filesOf(store, 9),
    store.generations.indexesAt(9),
    store.generations.current(),
    store.generations.earliestUnpruned(),
  ];
  const before = dump();
  const generation = { number: 2, publishedAtMs: 2000, tree: 'b', batch: '', added: 0, removed: 0 };
  for (let pieces = 1; pieces < 12; pieces++) {
    const change = await stage(store, many(3000, 7500));
    const work = store.journal.begin(generation, [change]);
    let step = work.next();
    for (let n = 1; n < pieces && !step.done; n++) step = work.next();
    assert.equal(step.done ? store.journal.pending()?.number : store.journal.unfinished(), 2);
    assert.equal(store.generations.current()?.number, 1);
    assert.deepEqual(filesOf(store, 1).length, 4500);
    const back = store.journal.forget(2);
    back.next();
    assert.equal(store.journal.pending(), null, 'once it is being taken back nobody finishes it');
    await inPieces(store.journal.forget(2));
    assert.deepEqual(dump(), before);
    await inPieces(store.staging.drop(change.candidate));
    if (step.done) return;
  }
  assert.fail('a batch of that size has less than twelve pieces');
});

test('a package that was missing is wanted again by the same index, and published when it came', async (t) => {
  const store = open(t);
  const content = { 'a@1': 'A', 'b@1': 'B' };
  await publish(store, [await stage(store, content, { absent: ['b-1.apk'] })]);
  assert.deepEqual(filesOf(store, 1), filesIn({ 'a@1': 'A' }));
  const again = await stage(store, content);
  assert.equal(again.removals, 0);
  assert.deepEqual(
    [...store.staging.rows(again.candidate, ['ready'])].flat().map((r) => r.file),
    ['b-1.apk'],
  );
  await publish(store, [again]);
  assert.deepEqual(filesOf(store, 2).sort(), filesIn(content));
});

test('known bytes are those of the same builder, name and size, copied or served now', async (t) => {
  const store = open(t);
  const entry = entryOf('a', '1', 'A');
  assert.equal(store.staging.known(entry, 'b'), null);
  const change = await stage(store, { 'a@1': 'A' });
  assert.equal(store.staging.known(entry, 'b')?.published, false);
  assert.equal(store.staging.known(entry, 'other'), null, 'another builder has other keys and rules');
  const generation = { number: 1, publishedAtMs: 1000, tree: 'a', batch: '', added: 0, removed: 0 };
  const pending = await inPieces(store.journal.begin(generation, [change]));
  await inPieces(store.staging.drop(change.candidate));
  assert.equal(store.staging.known(entry, 'b'), null, 'what is pending lies in no tree yet');
  store.journal.commit(pending, null, 1000);
  const known = store.staging.known(entry, 'b');
  assert.deepEqual([known?.published, known?.source], [true, 'trees/a/main/x86_64/a-1.apk']);
  assert.equal(store.staging.known(entry, 'other'), null);
  assert.equal(store.staging.known({ ...entry, size: 2 }, 'b'), null);
  assert.equal(store.staging.known({ ...entry, version: '2' }, 'b'), null);
  const next = await stage(store, { 'a@1': 'A', 'n@1': 'N' });
  const second = await inPieces(store.journal.begin({ ...generation, number: 2, tree: 'b' }, [next]));
  await inPieces(store.staging.drop(next.candidate));
  assert.equal(
    store.staging.known(entryOf('n', '1', 'N'), 'b'),
    null,
    'the next generation is in no tree that is served',
  );
  assert.equal(store.staging.known(entry, 'b')?.source, 'trees/a/main/x86_64/a-1.apk');
  store.journal.commit(second, 'a', 2000);
  assert.equal(store.staging.known(entry, 'b')?.source, 'trees/b/main/x86_64/a-1.apk');
  await publish(store, [await stage(store, { 'z@1': 'Z' })]);
  assert.equal(store.staging.known(entry, 'b'), null, 'what left the index may go from the trees');
});

test('problems: what is wrong comes before what is missing, and one rejected row makes the difference', async (t) => {
  const store = open(t);
  const { staging } = store;
  const { candidate } = await stage(
    store,
    { 'a@1': 'A', 'b@1': 'B', 'c@1': 'C' },
    { absent: ['a-1.apk', 'b-1.apk', 'c-1.apk'] },
  );
  const rows = [...staging.rows(candidate, ['missing'])].flat();
  staging.setFailed(rows[2]?.id ?? 0, 's', { code: 'DATA_MISMATCH', detail: 'bad', held: true });
  assert.deepEqual(
    staging.problems(candidate, 2).map((p) => p.file),
    ['c-1.apk', 'a-1.apk'],
  );
  assert.equal(staging.hasRejected(candidate), false);
  staging.setFailed(rows[1]?.id ?? 0, 's', { code: 'DATA_MISMATCH', detail: 'bad', held: false });
  assert.equal(staging.hasRejected(candidate), true);
  assert.deepEqual(staging.counts(candidate), { missing: 1, present: 0, ready: 0, failed: 2 });
  staging.setState(rows[1]?.id ?? 0, 'present', 's2');
  assert.equal(staging.bytesToCopy(candidate), 1);
});

const batch = (key: string, state: NewBatch['state'], more: Partial<NewBatch> = {}): NewBatch => ({
  key,
  builder: 'b',
  state,
  updatedAtMs: 1_700_000_000_000,
  repositories: [{ path: 'main/x86_64', index: 'main/x86_64/APKINDEX.tar.gz', sha256: key, base: null }],
  reasons: [],
  ...more,
});

test('a batch keeps its id through waiting, held, rejected and waiting again; once published its content is another batch', async (t) => {
  const { batches, ...store } = open(t);
  const { id } = batches.record(batch('k', 'waiting'));
  for (const state of ['held', 'waiting', 'rejected', 'waiting'] as const) {
    assert.deepEqual(batches.record(batch('k', state)), { id, changed: true });
    assert.deepEqual(batches.record(batch('k', state)), { id, changed: false });
  }
  const generation = { number: 1, publishedAtMs: 1, tree: 'a', batch: id, added: 0, removed: 0 };
  store.journal.commit(await inPieces(store.journal.begin(generation, [])), null, 1);
  assert.equal(batches.get(id)?.state, 'published');
  assert.notEqual(batches.record(batch('k', 'waiting')).id, id);
});

test('what a batch is held for is told once, though it waits for a moment in between; what is new is told', (t) => {
  const { batches } = open(t);
  const told = (state: NewBatch['state'], detail: string): boolean =>
    batches.record(batch('k', state, { reasons: [{ code: 'INCOMPLETE', path: 'a', detail }] })).changed;
  assert.ok(told('held', 'b is missing'));
  assert.ok(told('waiting', 'b is missing'));
  assert.ok(!told('held', 'b is missing'));
  assert.equal(batches.recent(10)[0]?.state, 'held');
  assert.ok(told('waiting', 'b is missing'));
  assert.ok(told('held', 'c is missing'));
  assert.ok(told('waiting', 'c is missing'));
  assert.ok(told('rejected', 'c is missing'));
  assert.ok(told('waiting', 'c is missing'));
  assert.ok(told('rejected', 'c is missing'), 'another upload that is refused');
  assert.ok(told('held', 'c is missing'));
});

test('a held batch that waits for a moment together with another upload is the same afterwards, and not told anew', (t) => {
  const { batches } = open(t);
  const reasons = [{ code: 'INCOMPLETE' as const, path: 'a', detail: 'b is missing' }];
  const { id } = batches.record(batch('a', 'held', { reasons }));
  // An upload begins, then its index is there, then it is over.
  batches.record(batch('a', 'waiting'));
  batches.supersede('b', ['a and b']);
  assert.deepEqual(batches.get(id)?.reasons, reasons);
  batches.record(batch('a and b', 'waiting', { reasons }));
  assert.deepEqual(
    batches.recent(10).map(({ state }) => state),
    ['waiting'],
    'it is not open beside the other one',
  );
  batches.supersede('b', ['a', 'b']);
  assert.deepEqual(batches.record(batch('a', 'held', { reasons })), { id, changed: false });
  assert.ok(batches.record(batch('a', 'held')).changed, 'what is new is told');
});

test('of the batches of one builder only the open ones stay open', (t) => {
  const { batches } = open(t);
  const ids = ['w1', 'w2', 'h1', 'h2'].map(
    (key) => batches.record(batch(key, key.startsWith('w') ? 'waiting' : 'held')).id,
  );
  const other = batches.record(batch('w1 of c', 'waiting', { builder: 'c' })).id;
  batches.supersede('b', ['w2', 'h2']);
  assert.deepEqual(
    batches
      .recent(10)
      .map((b) => b.id)
      .sort(),
    [ids[1], ids[3], other].map(String).sort(),
  );
  assert.equal(batches.get(ids[0] ?? ''), null);
  assert.equal(batches.get(ids[2] ?? '')?.state, 'held', 'a held batch is remembered');
  assert.equal(batches.record(batch('h1', 'held')).id, ids[2], 'and found again when its upload comes back');
  assert.ok(batches.recent(10).some((b) => b.id === ids[2]));
});

test('a set of bits holds what was put in and nothing else', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(100_000)), fc.array(fc.nat(100_000)), (inside, asked) => {
      const bits = new Bits();
      for (const n of inside) bits.add(n);
      assert.ok(inside.every((n) => bits.has(n)));
      for (const n of asked) assert.equal(bits.has(n), inside.includes(n));
    }),
  );
});

test('a state file of a newer lockstepd is refused, a broken one says so', (t) => {
  const directory = temporaryDirectory(t);
  openStore(directory)[Symbol.dispose]();
  const db = new DatabaseSync(join(directory, 'state.db'));
  db.exec('PRAGMA user_version=99');
  db.close();
  assert.throws(() => openStore(directory), { code: 'STATE', message: /newer lockstepd.*install/ });
});
