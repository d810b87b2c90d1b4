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
