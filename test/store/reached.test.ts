import assert from 'node:assert/strict';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import test, { type TestContext } from 'node:test';
import { openStore, type Store } from '../../src/store/store.ts';
import { temporaryDirectory } from '../support/apk.ts';

function open(t: TestContext): Store {
  const store = openStore(temporaryDirectory(t));
  t.after(() => store[Symbol.dispose]());
  store.mirrors.open('paris', 'sftp:paris');
  return store;
}

const seen = (generation: number | null): { generation: number | null; unknownContent: boolean } => ({
  generation,
  unknownContent: generation === null,
});

test('the first time at which a mirror was confirmed or seen is what is kept', (t) => {
  const store = open(t);
  store.mirrors.confirm('paris', 1, 100);
  store.mirrors.doubt('paris');
  store.mirrors.confirm('paris', 1, 200);
  store.mirrors.observe('paris', seen(1), 300);
  store.mirrors.observe('paris', seen(1), 400);
  store.mirrors.observe('paris', seen(0), 500);
  store.mirrors.observe('paris', seen(null), 600);
  store.mirrors.confirm('paris', 3, 700);
  assert.deepEqual(store.reached.since(0), [
    { mirror: 'paris', generation: 1, confirmedAtMs: 100, observedAtMs: 300 },
    { mirror: 'paris', generation: 3, confirmedAtMs: 700, observedAtMs: null },
  ]);
  assert.equal(store.reached.since(2).length, 1);
});

test('a mirror that is seen as before is not written down each time, and what is new at once', (t) => {
  const directory = temporaryDirectory(t);
  const store = openStore(directory);
  t.after(() => store[Symbol.dispose]());
  const minute = 60_000;
  const at = (): number | null => store.mirrors.get('paris').observedAtMs;
  const written = (): unknown => {
    using db = new DatabaseSync(join(directory, 'state.db'), { readOnly: true });
    return db.prepare('SELECT observed_at FROM mirror').get()?.['observed_at'];
  };
  store.mirrors.open('paris', 'sftp:paris');
  store.mirrors.observe('paris', seen(1), minute);
  store.mirrors.observe('paris', seen(1), 10 * minute);
  assert.deepEqual(
    [at(), store.mirrors.all().get('paris')?.observedAtMs, written()],
    [10 * minute, 10 * minute, minute],
  );
  store.mirrors.observe('paris', seen(1), 11 * minute);
  assert.deepEqual([at(), written()], [11 * minute, 11 * minute], 'now and then');
  store.mirrors.observe('paris', seen(1), 12 * minute);
  for (const [n, more] of [seen(2), seen(null), { ...seen(2), ahead: true }, seen(2)].entries()) {
    store.mirrors.observe('paris', more, (13 + n) * minute);
    assert.deepEqual([at(), written()], [(13 + n) * minute, (13 + n) * minute], `what is new, ${n}`);
  }
  store.mirrors.observe('paris', seen(2), 2 * minute);
  assert.deepEqual([at(), written()], [2 * minute, 2 * minute], 'a clock that was set back');
  store.mirrors.observe('paris', seen(2), 3 * minute);
  store.mirrors.unobserve('paris');
  assert.equal(at(), null);
  store.mirrors.observe('paris', seen(2), 4 * minute);
  store.mirrors.observe('paris', seen(2), 5 * minute);
  store.mirrors.open('paris', 'sftp:elsewhere');
  assert.equal(at(), null);
});

test('of where a mirror was before nothing is told', (t) => {
  const store = open(t);
  store.mirrors.confirm('paris', 1, 100);
  store.mirrors.open('paris', 'sftp:elsewhere');
  assert.deepEqual(store.reached.since(0), []);
  store.mirrors.confirm('paris', 1, 200);
  assert.deepEqual(
    store.reached.since(0).map((row) => row.confirmedAtMs),
    [200],
  );
});

test('the times of the last hundred generations are kept', (t) => {
  const store = open(t);
  for (let n = 1; n <= 250; n++) store.mirrors.confirm('paris', n, n);
  const numbers = store.reached.since(0).map(({ generation }) => generation);
  assert.deepEqual([numbers.length, Math.min(...numbers), Math.max(...numbers)], [100, 151, 250]);
});

test('samples of lag keep the largest of a piece of time, and go when they are out of the range', (t) => {
  const store = open(t);
  const keep = [{ span: 900, first: 900, last: 1800 }];
  const sample = (bucket: number, lag: number) => ({ span: 900, bucket, mirror: 'paris', lag });
  store.lag.save([sample(0, 9), sample(900, 5), sample(2700, 9)], []);
  store.lag.save([sample(900, 3), sample(1800, 1)], keep);
  assert.deepEqual(store.lag.all(), [sample(900, 5), sample(1800, 1)]);
});
