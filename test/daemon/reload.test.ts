import assert from 'node:assert/strict';
import test from 'node:test';
import { toGuards } from '../../src/config/guards-schema.ts';
import type { MirrorConfig } from '../../src/config/mirror-schema.ts';
import type { Config, InboxConfig } from '../../src/config/schema.ts';
import { planReload } from '../../src/daemon/reload.ts';

const inbox = (builder: string): InboxConfig => ({
  fedBy: 'builder',
  builder,
  path: `/srv/inbox/${builder}`,
  repositories: [],
  keys: [{ directory: '/keys', maySign: null }],
  signatureAlgorithms: null,
  settleMs: 5000,
  missingPackages: 'hold',
  packageSignatures: 'if-present',
  quotas: { maxFileBytes: 1, maxBatchBytes: 1, maxInboxBytes: 1, maxPackages: 1, maxRepositories: 1 },
  approval: 'if-held',
  guards: toGuards({}, {}),
});
const mirror = (name: string, path = '/mnt'): MirrorConfig => ({
  name,
  url: null,
  transport: { type: 'directory', path },
  takeoverAfterMs: null,
  part: { include: [], exclude: [] },
  bytesPerSecond: null,
  quiet: [],
});
const config = (over: Partial<Config> = {}): Config => ({
  file: '/etc/x.yaml',
  root: '/srv',
  state: '/var',
  socket: '/run/s',
  listen: { host: '127.0.0.1', port: 9617 },
  listenPublic: null,
  workers: 1,
  inboxes: [inbox('a')],
  publish: { graceMs: 1, keepTreesForMs: 1, maxTrees: 4, keepForMirrorsMs: 1, primary: null, keepIndexesBytes: 1 },
  reserveBytes: 1,
  quarantine: { keepMs: 1, maxBytes: 1, maxBatches: 1 },
  mirrors: [mirror('paris'), mirror('oslo')],
  switch: { mode: 'each', quorum: { percent: 80 }, deadlineMs: 600_000 },
  limits: { connections: 8, bytesPerSecond: null },
  announce: [],
  schedule: { rescanMs: 1000, probeMs: 1000, scrub: null },
  scrub: { bytesPerSecond: 1_000_000, sample: 10 },
  log: { level: 'info' },
  ...over,
});

test('the same configuration changes nothing', () => {
  const plan = planReload(config(), config());
  assert.deepEqual([[...plan.stop], plan.needsRestart], [[], []]);
});

test('a changed or removed mirror stops with its probe, the others go on', () => {
  const plan = planReload(config(), config({ mirrors: [mirror('paris', '/other'), mirror('new')] }));
  assert.deepEqual([...plan.stop].sort(), ['mirror:oslo', 'mirror:paris', 'probe:oslo', 'probe:paris']);
});

test('a new reserve or new quotas restart the inbox, a new quarantine nothing', () => {
  assert.deepEqual([...planReload(config(), config({ reserveBytes: 2 })).stop], ['inbox:a']);
  const [old] = [inbox('a')];
  const raised = { ...old, quotas: { ...old.quotas, maxBatchBytes: 2 } };
  assert.deepEqual([...planReload(config(), config({ inboxes: [raised] })).stop], ['inbox:a']);
  const plan = planReload(config(), config({ quarantine: { keepMs: 2, maxBytes: 2, maxBatches: 2 } }));
  assert.deepEqual([[...plan.stop], plan.needsRestart, plan.config.quarantine.keepMs], [[], [], 2]);
});

test('new guards restart the inboxes, a new probe interval the mirrors', () => {
  const strict = { ...inbox('a'), guards: toGuards({ downgrade: 'reject' }, {}) };
  assert.deepEqual([...planReload(config(), config({ inboxes: [strict] })).stop], ['inbox:a']);
  const probes = planReload(
    config({ mirrors: [mirror('paris')] }),
    config({ mirrors: [mirror('paris')], schedule: { rescanMs: 1000, probeMs: 5, scrub: null } }),
  );
  assert.deepEqual([...probes.stop], ['mirror:paris', 'probe:paris']);
});

test('what only a restart can change is named and kept', () => {
  const plan = planReload(config(), config({ root: '/elsewhere', workers: 2 }));
  assert.deepEqual(plan.needsRestart, ['root', 'workers']);
  assert.deepEqual([plan.config.root, plan.config.workers], ['/srv', 1]);
});

test('a new root waits for a restart, and the inboxes stay below the old one', () => {
  const moved = config({ root: '/elsewhere', inboxes: [{ ...inbox('a'), path: '/elsewhere/inbox/a' }] });
  const plan = planReload(config(), moved);
  assert.deepEqual(plan.needsRestart, ['root']);
  assert.deepEqual([...plan.stop], []);
  assert.deepEqual(plan.config, config());
});
