import assert from 'node:assert/strict';
import test from 'node:test';
import { Together, type TogetherDeps } from '../../src/daemon/together.ts';
import { silentLog } from '../../src/system/log.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

test('a wall clock that is set back while mirrors wait does not put off the deadline', async () => {
  const clock = new VirtualClock();
  const current = { number: 5, publishedAtMs: clock.now() };
  let goes = 0;
  const together = new Together({
    store: { generations: { current: () => current, publishedAt: () => current.publishedAtMs } },
    clock,
    log: silentLog,
    config: () => ({ switch: { mode: 'together', quorum: { percent: 100 }, deadlineMs: 600_000 } }),
    members: () => [{ name: 'oslo', has: 4, shows: 4, out: null }],
    onGo: () => goes++,
  } as unknown as TogetherDeps);
  const stop = new AbortController();
  const running = together.run(stop.signal).catch(() => {});
  await clock.advance(60_000);
  clock.setWall(-86_400_000);
  await clock.advance(530_000);
  assert.deepEqual([goes, together.portOf('oslo').mayShow(5)], [0, false]);
  await clock.advance(20_000);
  assert.deepEqual([goes, together.portOf('oslo').mayShow(5)], [1, true]);
  stop.abort();
  await running;
});

test('a hundred mirrors that have got the packages one after the other are not asked about a hundred times', () => {
  const clock = new VirtualClock();
  const current = { number: 5, publishedAtMs: clock.now() };
  const members = Array.from({ length: 100 }, (_, n) => ({ name: `m${n}`, has: 4, shows: 4, out: null }));
  let asked = 0;
  let goes = 0;
  const together = new Together({
    store: {
      generations: { current: () => current, publishedAt: () => current.publishedAtMs },
      mirrors: { staged: (name: string) => Object.assign(members.find((one) => one.name === name) ?? {}, { has: 5 }) },
    },
    clock,
    log: silentLog,
    config: () => ({ switch: { mode: 'together', quorum: { percent: 80 }, deadlineMs: 600_000 } }),
    members: () => {
      asked++;
      return members;
    },
    onGo: () => goes++,
  } as unknown as TogetherDeps);
  together.review();
  for (const { name } of members.slice(0, 79)) together.portOf(name).staged(5);
  assert.deepEqual([goes, together.portOf('m0').mayShow(5)], [0, false]);
  together.portOf('m79').staged(5);
  assert.deepEqual([goes, together.portOf('m0').mayShow(5)], [1, true], 'at once with the last one of the quorum');
  assert.ok(asked <= 3, `${asked} times`);
});
