import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { newestHistory, type HistoryCursor, type HistoryEntry } from '../../src/store/history.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { inPieces } from '../../src/system/pieces.ts';
import { temporaryDirectory } from '../support/apk.ts';
import { type Content, entriesOf, PublishWorld } from '../publish/world.ts';

function open(t: TestContext): Store {
  const store = openStore(temporaryDirectory(t));
  t.after(() => store[Symbol.dispose]());
  return store;
}

const reason = { code: 'DOWNGRADE', path: 'main/x86_64', detail: 'a 2 to 1' } as const;
const index = { path: 'main/x86_64/APKINDEX.tar.gz', sha256: 'x', base: 3, reasons: [reason] };

test('the newest decision about an index of a repository counts, and each one is kept', (t) => {
  const { decisions, history } = open(t);
  const decide = (decision: 'approved' | 'rejected', atMs: number, over: Partial<typeof index> = {}): void =>
    decisions.add({
      batch: 'B',
      builder: 'b',
      decision,
      who: 'alice',
      why: `at ${atMs}`,
      atMs,
      indexes: [{ ...index, ...over }],
    });
  assert.equal(decisions.find(index.path, 'x'), null);
  decide('approved', 1);
  const found = { decision: 'approved', who: 'alice', why: 'at 1', base: 3, reasons: [reason] };
  assert.deepEqual(decisions.find(index.path, 'x'), found);
  assert.equal(decisions.find(index.path, 'y'), null);
  assert.equal(decisions.find('main/armhf/APKINDEX.tar.gz', 'x'), null);
  decide('rejected', 2);
  decide('approved', 3, { sha256: 'y' });
  assert.equal(decisions.find(index.path, 'x')?.decision, 'rejected');
  const { entries } = history.page(newestHistory, 10);
  assert.deepEqual(
    entries.map((e) => e.kind === 'decision' && [e.decision, e.why, e.indexes[0]?.sha256]),
    [
      ['approved', 'at 3', 'y'],
      ['rejected', 'at 2', 'x'],
      ['approved', 'at 1', 'x'],
    ],
  );
});

test('the history comes in pieces of any size, whole and newest first', async (t) => {
  const world = new PublishWorld(temporaryDirectory(t));
  t.after(async () => {
    await world.publisher.stop();
    world[Symbol.dispose]();
  });
  await world.publisher.recover();
  for (let n = 1; n <= 5; n++) {
    await world.publish({ 'main/x86_64': { [`a@${n}`]: String(n) } });
    world.clock.nowMs += 1000;
    const atMs = world.clock.nowMs;
    const decision = { batch: `B${n}`, builder: 'b', who: 'alice', why: '', atMs, indexes: [index] };
    if (n % 2 === 0) world.store.decisions.add({ ...decision, decision: 'approved' });
  }
  const name = (e: HistoryEntry): string => {
    if (e.kind === 'recall') return `recall ${e.id}`;
    return e.kind === 'generation' ? `generation ${e.number}` : e.batch;
  };
  const whole = ['generation 5', 'B4', 'generation 4', 'generation 3', 'B2', 'generation 2', 'generation 1'];
  for (const size of [1, 2, 3, 7, 100]) {
    const seen: string[] = [];
    let cursor: HistoryCursor | null = newestHistory;
    while (cursor !== null) {
      const page = world.store.history.page(cursor, size);
      assert.ok(page.entries.length <= size);
      seen.push(...page.entries.map(name));
      cursor = page.next;
    }
    assert.deepEqual(seen, whole, `pieces of ${size}`);
  }
  const [newest] = world.store.history.page(newestHistory, 1).entries;
  assert.ok(newest?.kind === 'generation');
  const { settle, copy, verify, publish } = newest.times;
  assert.deepEqual([settle, copy, verify, publish], [1000, 20, 3, 0]);
  assert.deepEqual([newest.builder, newest.added, newest.removed], ['b', 1, 1]);
});

test('what a candidate changes is told by name, with counts of all and names of the first', async (t) => {
  const world = new PublishWorld(temporaryDirectory(t));
  t.after(async () => {
    await world.publisher.stop();
    world[Symbol.dispose]();
  });
  await world.publisher.recover();
  const many = (from: number, to: number, version: string): Content =>
    Object.fromEntries(Array.from({ length: to - from }, (_, i) => [`p${from + i}@${version}`, `${version} ${i}`]));
  await world.publish({ 'main/x86_64': { ...many(0, 500, '1'), 'kept@1': 'K', 'kept@2': 'K2', 'kept-x@1': 'X' } });
  const { store } = world;
  const place = { repository: 'main/x86_64', indexFile: 'APKINDEX.tar.gz' } as const;
  const candidate = store.staging.newCandidate('b', place.repository, place.indexFile);
  const next = { ...many(0, 300, '2'), 'kept@2': 'K2', 'kept-x@1': 'other', 'q@1': 'Q' };
  store.staging.add(candidate, entriesOf(next));
  await inPieces(store.staging.compare(candidate));
  const { counts, first } = await inPieces(store.changes.of(candidate, place, 2));
  assert.deepEqual(counts, { added: 1, upgraded: 300, downgraded: 0, rebuilt: 1, removed: 201 });
  assert.deepEqual(
    first.upgraded.map((c) => `${c.name} ${c.from} ${c.to}`),
    ['p0 1 2', 'p1 1 2'],
  );
  assert.deepEqual(
    [...first.added, ...first.rebuilt, ...first.removed].map((c) => `${c.kind} ${c.name} ${c.from} ${c.to}`),
    ['added q null 1', 'rebuilt kept-x 1 1', 'removed kept 1 null', 'removed p300 1 null'],
  );
  const gone = await inPieces(store.changes.ofRemoval(place, 1));
  assert.deepEqual([gone.counts.removed, gone.first.removed.length], [503, 1]);
});
