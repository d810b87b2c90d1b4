import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Config } from '../../src/config/schema.ts';
import { ScrubService } from '../../src/daemon/scrub.ts';
import { Publisher } from '../../src/publish/publisher.ts';
import { openStore } from '../../src/store/store.ts';
import { systemClock } from '../../src/system/clock.ts';
import { silentLog } from '../../src/system/log.ts';
import { Verifier } from '../../src/trust/verify.ts';

test('the schedule asks for a scrub, one at a time; one that was asked for outlives the process', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'lockstepd-scrub-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  using store = openStore(join(directory, 'state'));
  const root = join(directory, 'srv');
  const retention = { keepForMirrorsMs: 0, keepIndexesBytes: 0 };
  const publish = { graceMs: 0, keepTreesForMs: 0, maxTrees: 2, ...retention };
  const publisher = new Publisher({ root, ...publish }, { store, clock: systemClock, log: silentLog });
  await publisher.recover();
  await using verifier = new Verifier({ workers: 1 });
  // Six fields: every second.
  const settings = { root, publish, inboxes: [], mirrors: [], schedule: { scrub: '* * * * * *' } };
  const config = { ...settings, scrub: { bytesPerSecond: 1e9, sample: 1 } } as unknown as Config;
  const deps = { store, publisher, verifier, clock: systemClock, log: silentLog, random: Math.random };
  const make = (): ScrubService => new ScrubService({ ...deps, config: () => config, targets: () => [] });
  const service = make();
  const stop = new AbortController();
  const scheduled = service.schedule(stop.signal);
  while (store.damage.lastRun() === null) await sleep(20);
  assert.equal(service.ask(), false, 'it is asked for already');
  stop.abort();
  await scheduled;
  await publisher.stop();

  const next = make();
  const end = new AbortController();
  const running = next.run(end.signal).catch(() => {});
  while (next.status.finished_at === null) await sleep(20);
  end.abort();
  await running;
  assert.deepEqual([next.status.number, store.damage.lastRun()?.finished], [1, true]);
  assert.equal(make().ask(), true);
});
