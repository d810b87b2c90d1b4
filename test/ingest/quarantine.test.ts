import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import type { Candidate } from '../../src/ingest/candidate.ts';
import { Quarantine } from '../../src/ingest/quarantine.ts';
import { openStore } from '../../src/store/store.ts';
import { systemClock } from '../../src/system/clock.ts';
import { temporaryDirectory } from '../support/apk.ts';

const day = 86_400_000;
const limits = { keepMs: 30 * day, maxBytes: 1_000_000, maxBatches: 5 };

function world(t: TestContext, over: Partial<typeof limits> = {}) {
  const root = temporaryDirectory(t);
  const store = openStore(join(root, 'state'));
  t.after(() => store[Symbol.dispose]());
  const deps = { root, batches: store.batches, limits: () => ({ ...limits, ...over }), clock: systemClock };
  const place = join(root, 'quarantine');
  return { place, store, deps, quarantine: new Quarantine(deps) };
}

const id = (n: number): string => `20261122T1200${String(n).padStart(2, '0')}-bpo-00000000`;
const refused = (n: number, bytes = 1000) => ({
  id: id(n),
  builder: 'bpo',
  reasons: [{ code: 'NAME' as const, path: 'x\u001b[31m\u202e', detail: 'a\nb\u009b' }],
  candidates: [
    {
      quarantine: async (directory: string) => {
        await mkdir(join(directory, 'main'), { recursive: true });
        await writeFile(join(directory, 'main/x.apk'), Buffer.alloc(bytes, 1));
      },
    } as Candidate,
  ],
});

test('the oldest go first when there are too many', async (t) => {
  const { place, quarantine } = world(t);
  for (let n = 0; n < 12; n++) await quarantine.keep(refused(n));
  assert.deepEqual((await readdir(place)).sort(), [7, 8, 9, 10, 11].map(id));
});

test('the oldest go first when they are too large, after a restart too; of one that is too large alone the reason stays', async (t) => {
  const { place, quarantine, deps } = world(t);
  for (let n = 0; n < 4; n++) await quarantine.keep(refused(n, 300_000));
  assert.deepEqual((await readdir(place)).sort(), [1, 2, 3].map(id));
  const restarted = new Quarantine({ ...deps, limits: () => ({ ...limits, maxBytes: 700_000 }) });
  assert.equal(await restarted.prune(), 1);
  assert.deepEqual((await readdir(place)).sort(), [2, 3].map(id));
  await restarted.keep(refused(5, 2_000_000));
  assert.deepEqual(await readdir(place), [id(5)]);
  assert.deepEqual(await readdir(join(place, id(5))), ['reason.json']);
});

test('what is too old goes, what is not a batch stays', async (t) => {
  const { place, quarantine } = world(t);
  await quarantine.keep(refused(1));
  await quarantine.keep(refused(2));
  await mkdir(join(place, 'notes-of-the-admin'));
  const old = (Date.now() - 31 * day) / 1000;
  for (const name of [id(2), 'notes-of-the-admin']) await utimes(join(place, name), old, old);
  assert.equal(await quarantine.prune(), 1);
  assert.deepEqual((await readdir(place)).sort(), [id(1), 'notes-of-the-admin'].sort());
});

test('a reason is safe to print and still says what it said', async (t) => {
  const { place, quarantine } = world(t);
  const batch = refused(1);
  await quarantine.keep(batch);
  const text = await readFile(join(place, batch.id, 'reason.json'), 'utf8');
  assert.doesNotMatch(text.replaceAll('\n', ''), /[\p{Cc}\p{Cf}]/u);
  assert.deepEqual(JSON.parse(text).reasons, batch.reasons);
});

test('the history of refused batches is bounded with them', async (t) => {
  const { quarantine, store } = world(t);
  const record = (n: number, state: 'rejected' | 'held' | 'published', updatedAtMs: number): string =>
    store.batches.record({
      key: `${n}`.padStart(8, '0'),
      builder: 'bpo',
      state,
      updatedAtMs,
      repositories: [],
      reasons: [],
    }).id;
  const now = Date.now();
  const ids = Array.from({ length: 9 }, (_, n) => record(n, 'rejected', now - 10_000 + n * 1000));
  const published = record(20, 'published', now - 90 * day);
  const held = record(21, 'held', now - 90 * day);
  const ancient = record(22, 'rejected', now - 31 * day);
  await quarantine.prune();
  const kept = (batch: string): boolean => store.batches.get(batch) !== null;
  assert.deepEqual(ids.map(kept), [false, false, false, false, true, true, true, true, true]);
  assert.deepEqual([published, held, ancient].map(kept), [true, true, false]);
  store.batches.supersede('bpo', []);
  await quarantine.prune();
  assert.equal(kept(held), false, 'not open any more');
});

test('no quarantine yet is nothing to prune', async (t) => {
  const { place, quarantine } = world(t);
  assert.equal(await quarantine.prune(), 0);
  assert.ok(!existsSync(place));
});
