import assert from 'node:assert/strict';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { followObservation } from '../../src/daemon/follow.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { removeAtEnd } from '../support/remove-at-end.ts';

test('what a mirror that pulls holds is what it serves whole; changes are remembered, a bounded number of them', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'lockstepd-follow-'));
  removeAtEnd(t, directory);
  const real = openStore(directory);
  t.after(() => real[Symbol.dispose]());
  const indexesAt = (at: number) => ['a', 'b'].map((repository) => ({ repository, file: 'x', sha256: `${at}` }));
  const store = { ...real, generations: { indexesAt } } as unknown as Store;
  store.mirrors.open('quito', 'pull http://one/');
  let now = 0;
  const confirmed: number[] = [];
  const see = (generation: number | null, a: string, b: string): void => {
    now += 1000;
    const indexes = new Map([
      ['a/x', { sha256: a }],
      ['b/x', { sha256: b }],
    ]);
    const deps = { store, takes: () => true, now: () => now, onConfirmed: (g: number) => confirmed.push(g) };
    followObservation('quito', { generation, unknownContent: false, indexes }, deps);
    store.mirrors.observe('quito', { generation, unknownContent: false }, now);
  };
  see(1, '1', '1');
  assert.deepEqual(
    [store.mirrors.get('quito').confirmed, store.syncs.of('quito')],
    [1, []],
    'the first look is no change',
  );
  see(1, '2', '1');
  assert.equal(store.mirrors.get('quito').confirmed, null, 'half of it is new');
  see(2, '2', '2');
  see(2, '2', '2');
  assert.deepEqual([store.mirrors.get('quito').confirmed, store.syncs.of('quito')], [2, [3000]]);
  see(1, '1', '1');
  assert.equal(store.mirrors.get('quito').confirmed, 1, 'it went back');
  see(2, '2', '2');
  assert.deepEqual(confirmed, [1, 2, 2]);
  for (let g = 3; g < 40; g++) see(g, `${g}`, `${g}`);
  assert.equal(store.syncs.of('quito').length, 20);
  assert.equal(store.syncs.of('quito').at(-1), now);
  store.mirrors.open('quito', 'pull http://elsewhere/');
  assert.deepEqual(store.syncs.of('quito'), []);
});
