import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import type { Part } from '../../src/config/part.ts';
import { parseTemplate } from '../../src/config/template.ts';
import { Past } from '../../src/daemon/past.ts';
import { type Log, silentLog } from '../../src/system/log.ts';
import type { StatusFacts } from '../../src/observe/status.ts';
import { mirrorFacts, statusFacts } from '../observe/facts.ts';
import { PublishWorld } from '../publish/world.ts';
import { temporaryDirectory } from '../support/apk.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

function part(...include: string[]): Part {
  const templates = include.map((text) => {
    const parsed = parseTemplate(text);
    assert.ok('value' in parsed);
    return parsed.value;
  });
  return { include: templates, exclude: [] };
}

const mirrors = [{ config: { name: 'paris', part: part() } }, { config: { name: 'arm', part: part('*/aarch64') } }];

async function world(t: TestContext): Promise<PublishWorld> {
  const made = new PublishWorld(temporaryDirectory(t));
  t.after(() => made[Symbol.dispose]());
  await made.publisher.recover();
  return made;
}

function pastOf({ store }: PublishWorld, clock: VirtualClock, log: Log = silentLog): Past {
  return new Past({ store, clock, log, mirrors: () => mirrors });
}

const lagging = (clock: VirtualClock, seconds: number): StatusFacts =>
  statusFacts({ mirrors: [mirrorFacts({ observedMissingSinceMs: clock.now() - seconds * 1000 })] });

test('the last generations are told with their builder, times, changes and mirrors', async (t) => {
  const w = await world(t);
  await w.publish({ 'main/x86_64': { 'a@1-r0': 'a', 'b@1-r0': 'b' }, 'main/aarch64': { 'a@1-r0': 'A' } });
  w.clock.nowMs += 60_000;
  await w.publish({ 'main/x86_64': { 'a@2-r0': 'aa', 'c@1-r0': 'c' }, 'main/aarch64': { 'a@2-r0': 'AA' } });
  w.store.mirrors.open('paris', 'sftp:paris');
  w.store.mirrors.confirm('paris', 2, w.clock.nowMs + 2000);
  const { propagation } = pastOf(w, new VirtualClock()).recent();
  const [second, first] = propagation;
  assert.deepEqual([second?.generation, second?.builder, first?.generation], [2, 'b', 1]);
  assert.deepEqual(second?.changes, [
    { kind: 'upgraded', name: 'a', from: '1-r0', to: '2-r0' },
    { kind: 'removed', name: 'b', from: '1-r0', to: null },
    { kind: 'added', name: 'c', from: null, to: '1-r0' },
  ]);
  assert.deepEqual([second.changed_names, first?.changed_names], [3, 2]);
  assert.deepEqual(second.repositories, ['main/aarch64', 'main/x86_64']);
  const at = new Date(w.clock.nowMs + 2000).toISOString().replace('.000', '');
  for (const generation of [first, second])
    assert.deepEqual(generation?.mirrors, [
      { name: 'paris', takes: true, confirmed_at: at, observed_at: null },
      { name: 'arm', takes: true, confirmed_at: null, observed_at: null },
    ]);
});

test('ten generations are told, of each at most twenty names and their number', async (t) => {
  const w = await world(t);
  const many = Object.fromEntries(Array.from({ length: 30 }, (_, n) => [`p${n}@1-r0`, `${n}`]));
  for (let n = 0; n < 12; n++) await w.publish({ 'main/x86_64': { ...many, [`q@${n}-r0`]: `${n}` } });
  const past = pastOf(w, new VirtualClock());
  const { propagation } = past.recent();
  assert.deepEqual(
    propagation.map(({ generation }) => generation),
    [12, 11, 10, 9, 8, 7, 6, 5, 4, 3],
  );
  await w.publish({ 'main/x86_64': { 'q@12-r0': 'x' } });
  const [newest] = past.recent().propagation;
  assert.deepEqual([newest?.generation, newest?.changed_names, newest?.changes.length], [13, 31, 20]);
});

test('lag is written down once a minute, and known after a restart', async (t) => {
  const w = await world(t);
  const clock = new VirtualClock();
  const past = pastOf(w, clock);
  past.note(lagging(clock, 120));
  assert.deepEqual(w.store.lag.all(), []);
  await clock.advance(60_000);
  past.note(lagging(clock, 90));
  assert.deepEqual(
    w.store.lag.all().map(({ span, mirror, lag }) => [span, mirror, lag]),
    [
      [900, 'paris', 120],
      [7200, 'paris', 120],
    ],
  );
  const [series] = pastOf(w, clock).recent().lag;
  assert.deepEqual([series?.mirror, series?.day.at(-1), series?.week.at(-1)], ['paris', 120, 120]);
});

test('what cannot be written down is kept for the next time, and does not end the daemon', async (t) => {
  const w = await world(t);
  const clock = new VirtualClock();
  const events: string[] = [];
  const past = pastOf(w, clock, { ...silentLog, error: (event) => void events.push(event) });
  const broken = t.mock.method(w.store.lag, 'save', () => {
    throw new Error('database or disk is full');
  });
  past.note(lagging(clock, 120));
  past.save();
  assert.deepEqual(events, ['lag_not_recorded']);
  broken.mock.restore();
  past.save();
  assert.equal(w.store.lag.all().length, 2);
});

test('before anything is published no lag is kept', async (t) => {
  const w = await world(t);
  const clock = new VirtualClock();
  const past = pastOf(w, clock);
  past.note({ ...lagging(clock, 120), generation: 0 });
  past.save();
  assert.deepEqual(w.store.lag.all(), []);
  assert.deepEqual(past.recent().propagation, []);
});
