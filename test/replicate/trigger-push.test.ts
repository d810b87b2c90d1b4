import assert from 'node:assert/strict';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { TransportError } from '../../src/errors.ts';
import { TriggerPush } from '../../src/replicate/trigger-push.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { silentLog } from '../../src/system/log.ts';
import { removeAtEnd } from '../support/remove-at-end.ts';

interface World {
  readonly store: Store;
  readonly push: TriggerPush;
  /** Seconds on the clock at which the mirror was told. */
  readonly told: number[];
  readonly probes: number[];
  newest: number;
  /** What happens at a second of the clock. */
  readonly at: Map<number, () => void>;
  fault: TransportError | null;
  /** The newest generation that mirrors may show. */
  shown: number;
}

/** A clock that jumps from sleep to sleep, a mirror of which only the store knows what it was seen to serve. */
async function world(t: TestContext): Promise<World> {
  const directory = await mkdtemp(join(tmpdir(), 'lockstepd-trigger-'));
  removeAtEnd(t, directory);
  const real = openStore(directory);
  t.after(() => real[Symbol.dispose]());
  real.mirrors.open('oslo', 'trigger');
  let nowMs = 0;
  const [told, probes]: [number[], number[]] = [[], []];
  const at = new Map<number, () => void>();
  const state = { newest: 1, fault: null as TransportError | null, shown: Number.POSITIVE_INFINITY };
  const generations = { current: () => ({ number: state.newest }) };
  const store = { ...real, generations } as unknown as Store;
  const clock = {
    now: () => nowMs,
    monotonic: () => nowMs,
    sleep: (ms: number, options?: { readonly signal?: AbortSignal | undefined }): Promise<void> => {
      options?.signal?.throwIfAborted();
      nowMs += ms;
      for (const [second, happen] of at) {
        if (second * 1000 > nowMs) continue;
        at.delete(second);
        happen();
      }
      return Promise.resolve();
    },
  };
  const trigger = {
    fire: (): Promise<void> => {
      told.push(nowMs / 1000);
      return state.fault ? Promise.reject(state.fault) : Promise.resolve();
    },
    close: (): Promise<void> => Promise.resolve(),
  };
  const probe = (): void => void probes.push(nowMs / 1000);
  const together = { mayShow: (generation: number): boolean => generation <= state.shown };
  const deps = { store, clock, log: silentLog, minIntervalMs: 10_000, probe, together };
  const push = new TriggerPush('oslo', trigger, deps);
  return Object.assign(state, { store, push, told, probes, at });
}

const signal = new AbortController().signal;

test('a push is over when the generation was seen, not when the mirror said that it has started', async (t) => {
  const w = await world(t);
  assert.equal(w.push.isDue(), true);
  w.at.set(20, () => w.store.mirrors.confirm('oslo', 1, 20_000));
  assert.equal(await w.push.push(signal), 1);
  assert.deepEqual(w.told, [0]);
  assert.deepEqual(w.probes.map(Math.round), [1, 3, 7, 15], 'looked for less and less often');
  assert.equal(w.push.isDue(), false);
});

test('generations that come out meanwhile are told together, never within the interval', async (t) => {
  const w = await world(t);
  for (let second = 1; second <= 12; second++) w.at.set(second, () => w.newest++);
  w.at.set(40, () => w.store.mirrors.confirm('oslo', w.newest, 40_000));
  assert.equal(await w.push.push(signal), 13);
  assert.equal(w.told.length, 3, String(w.told));
  for (const [n, moment] of w.told.slice(1).entries()) assert.ok(moment - (w.told[n] ?? 0) >= 10, String(w.told));
});

test('an older generation than the one that was pushed does not count', async (t) => {
  const w = await world(t);
  w.newest = 5;
  w.at.set(2, () => w.store.mirrors.confirm('oslo', 4, 2000));
  w.at.set(4, () => w.store.mirrors.confirm('oslo', 5, 4000));
  assert.equal(await w.push.push(signal), 5);
});

test('what is not seen in half an hour has failed, and says where to look', async (t) => {
  const w = await world(t);
  await assert.rejects(w.push.push(signal), {
    reason: 'timeout',
    kind: 'retryable',
    message: 'it was told to pull 30 minutes ago and does not serve generation 1: look at its log',
  });
  assert.ok(w.probes.length < 70, `${w.probes.length} looks in half an hour`);
});

test('a mirror that refuses is not knocked at again within the interval', async (t) => {
  const w = await world(t);
  w.fault = new TransportError('refused', 'retryable', 'no');
  await assert.rejects(w.push.push(signal), { reason: 'refused' });
  await assert.rejects(w.push.push(signal), { reason: 'refused' });
  assert.deepEqual(w.told, [0, 10]);
});

test('where mirrors switch together it is not told of a generation that has to wait, in the middle of a push neither', async (t) => {
  const w = await world(t);
  w.shown = 0;
  assert.equal(w.push.isDue(), false);
  w.shown = 1;
  assert.equal(w.push.isDue(), true);
  w.at.set(5, () => (w.newest = 2));
  w.at.set(40, () => w.store.mirrors.confirm('oslo', 1, 40_000));
  assert.equal(await w.push.push(signal), 1);
  assert.deepEqual(w.told, [0]);
  assert.equal(w.push.isDue(), false);
  Object.assign(w.store, { recalls: { newest: () => 7 } });
  assert.equal(w.push.isDue(), true, 'what was recalled waits for nobody');
});
