import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ProbeDeps, ProbeService } from '../../src/daemon/probes.ts';
import { Metrics } from '../../src/observe/metrics.ts';
import { Prober } from '../../src/observe/probe.ts';
import { openStore } from '../../src/store/store.ts';
import { systemClock } from '../../src/system/clock.ts';
import { silentLog } from '../../src/system/log.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

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
    everyMs: () => 5,
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

/** Probes paris once a minute; `deps`: what the test is about. */
function serviceOn(clock: VirtualClock, deps: object): ProbeService {
  const quiet = { metrics: { probed: () => {} }, random: () => 0.5, log: silentLog };
  const all = { ...quiet, clock, everyMs: () => 60_000, takes: () => true, ...deps };
  return new ProbeService('paris', 'http://127.0.0.1:9/', all as unknown as ProbeDeps);
}

test('for how long no probe was answered is known, and forgotten with the next answer', async () => {
  const clock = new VirtualClock();
  let answer: object = { success: false, indexes: new Map([['main/x86_64/APKINDEX.tar.gz', { failed: 'HTTP 502' }]]) };
  const service = serviceOn(clock, {
    store: {
      generations: { current: () => ({ number: 1 }), indexesAt: () => [] },
      mirrors: { get: () => ({ confirmed: null }), observe: () => {} },
    },
    prober: { probe: () => Promise.resolve(answer) },
  });
  const stop = new AbortController();
  const running = service.run(stop.signal).catch(() => {});
  assert.equal(service.unanswered, null, 'nothing was asked yet');
  await clock.advance(10 * 60_000);
  assert.deepEqual(service.unanswered, { seconds: 600, detail: 'main/x86_64/APKINDEX.tar.gz: HTTP 502' });
  answer = { success: true, indexes: new Map() };
  await clock.advance(60_000);
  assert.equal(service.unanswered, null);
  stop.abort();
  await running;
});

test('what was strange is somebody we know once a key has come; until then it is not read at each probe', async () => {
  const clock = new VirtualClock();
  const bytes = Buffer.from('theirs');
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const row = { repository: 'main/x86_64', file: 'APKINDEX.tar.gz', sha256: 'ours', since: 1 };
  const generations = {
    current: () => ({ number: 1 }),
    indexesAt: () => [row],
    rangeOf: () => null,
    firstGenerationOf: () => 1,
  };
  const seen: boolean[] = [];
  const mirrors = {
    get: () => ({ confirmed: 1 }),
    observe: (_name: string, { unknownContent }: { readonly unknownContent: boolean }) =>
      void seen.push(unknownContent),
    doubt: () => {},
  };
  const answer = {
    success: true,
    indexes: new Map([['main/x86_64/APKINDEX.tar.gz', { sha256 }]]),
    clockSkewSeconds: null,
  };
  let reads = 0;
  let known = false;
  const service = serviceOn(clock, {
    store: { generations, mirrors },
    prober: { probe: () => Promise.resolve(answer), read: () => Promise.resolve((reads++, bytes)) },
    vouch: () => Promise.resolve(known ? 'newer' : 'untrusted'),
  });
  const stop = new AbortController();
  const running = service.run(stop.signal).catch(() => {});
  await clock.advance(5 * 60_000);
  assert.deepEqual([seen.every((strange) => strange), reads], [true, 1]);
  known = true;
  await clock.advance(10 * 60_000);
  assert.deepEqual([seen.at(-1), reads], [false, 2]);
  stop.abort();
  await running;
});
