import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import type { Config } from '../../src/config/schema.ts';
import { Fleet, type FleetDeps } from '../../src/daemon/fleet.ts';
import { Supervisor } from '../../src/daemon/supervisor.ts';
import { Metrics } from '../../src/observe/metrics.ts';
import { Prober } from '../../src/observe/probe.ts';
import type { Publisher } from '../../src/publish/publisher.ts';
import { openStore } from '../../src/store/store.ts';
import { systemClock } from '../../src/system/clock.ts';
import { silentLog } from '../../src/system/log.ts';

test('a stop waits for the pushes that we make, not for a mirror that was told to pull', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'lockstepd-fleet-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  using store = openStore(directory);
  const account = {
    host: 'h',
    port: 22,
    user: 'u',
    identity: '/i',
    hostKeys: [`SHA256:${'A'.repeat(43)}`],
    stallMs: 1,
  };
  const common = { url: 'http://127.0.0.1:9/', takeoverAfterMs: null, quiet: [], bytesPerSecond: null };
  const part = { include: [], exclude: [] };
  const config = {
    mirrors: [
      { name: 'oslo', ...common, part, transport: { type: 'trigger', ...account, command: 'pull', minIntervalMs: 1 } },
      { name: 'paris', ...common, part, transport: { type: 'directory', path: join(directory, 'mirror') } },
      { name: 'rome', ...common, part, transport: { type: 'pull' } },
    ],
    limits: { connections: 1, bytesPerSecond: null },
    publish: { graceMs: 0, primary: null },
    schedule: { probeMs: 60_000 },
    switch: { mode: 'each', quorum: { percent: 80 }, deadlineMs: 1000 },
  } as unknown as Config;
  const supervisor = new Supervisor(silentLog, () => {});
  const fleet = new Fleet({
    store,
    supervisor,
    config: () => config,
    publisher: { lease: () => null } as unknown as Publisher,
    metrics: new Metrics({ version: '0', builders: [], mirrors: ['oslo', 'paris', 'rome'] }),
    prober: new Prober({ version: '0', clock: systemClock }),
    clock: systemClock,
    random: () => 0,
    log: silentLog,
  } as Partial<FleetDeps> as FleetDeps);
  fleet.start();
  assert.deepEqual(
    supervisor.names().filter((name) => fleet.brings(name)),
    ['mirror:paris'],
  );
  await supervisor.stop(() => true);
});
