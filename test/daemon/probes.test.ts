import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ProbeService } from '../../src/daemon/probes.ts';
import { Metrics } from '../../src/observe/metrics.ts';
import { Prober } from '../../src/observe/probe.ts';
import { openStore } from '../../src/store/store.ts';
import { systemClock } from '../../src/system/clock.ts';
import { silentLog } from '../../src/system/log.ts';

test('a probe whose result cannot be written down does not end the daemon: the next one comes', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'lockstepd-probes-'));
  const store = openStore(directory);
  const complaints: string[] = [];
  const service = new ProbeService('paris', 'http://127.0.0.1:9/', {
    // A store that is closed fails at every call, as one on a full disk does at every write.
    store,
    prober: new Prober({ version: '0', clock: systemClock }),
    metrics: new Metrics({ version: '0', builders: [], mirrors: ['paris'] }),
    clock: systemClock,
    random: Math.random,
    log: { ...silentLog, error: (event) => complaints.push(event) },
    everyMs: 5,
    takes: () => true,
  });
  store[Symbol.dispose]();
  const stop = new AbortController();
  const running = service.run(stop.signal);
  try {
    while (complaints.length < 3) await Promise.race([sleep(5), running]);
    assert.deepEqual(new Set(complaints), new Set(['probe_not_recorded']));
  } finally {
    stop.abort();
    await running.catch(() => {});
    await rm(directory, { recursive: true, force: true });
  }
});
