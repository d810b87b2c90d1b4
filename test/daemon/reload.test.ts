import assert from 'node:assert/strict';
import test from 'node:test';
import { toGuards } from '../../src/config/guards-schema.ts';
import type { MirrorConfig } from '../../src/config/mirror-schema.ts';
import type { Config, InboxConfig } from '../../src/config/schema.ts';
import { changedKeys } from '../../src/config/diff.ts';
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
  hooks: [],
  schedule: { rescanMs: 1000, probeMs: 1000, scrub: null },
  scrub: { bytesPerSecond: 1_000_000, sample: 10 },
  log: { level: 'info' },
  written: null,
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

test('new guards restart the inboxes, a new probe interval no mirror: a push in hand goes on', () => {
  const strict = { ...inbox('a'), guards: toGuards({ downgrade: 'reject' }, {}) };
  assert.deepEqual([...planReload(config(), config({ inboxes: [strict] })).stop], ['inbox:a']);
  const schedule = { rescanMs: 1000, probeMs: 5, scrub: '0 4 * * 0' };
  const plan = planReload(config(), config({ schedule }));
  assert.deepEqual([[...plan.stop], plan.config.schedule], [[], schedule]);
});

test('what only a restart can change is named by its key and kept', () => {
  const { publish: old } = config();
  const plan = planReload(config(), config({ root: '/elsewhere', workers: 2, publish: { ...old, graceMs: 2 } }));
  assert.deepEqual(plan.needsRestart, ['root', 'workers', 'publish.grace']);
  assert.deepEqual([plan.config.root, plan.config.workers, plan.config.publish], ['/srv', 1, old]);
  for (const key of Object.keys(old)) {
    const changed = planReload(config(), config({ publish: { ...old, [key]: 99 } }));
    assert.equal(changed.needsRestart.length, 1, `publish.${key}`);
  }
});

test('a reload says which keys differ, by name, and no value', () => {
  const before = {
    mirrors: [
      { name: 'paris', transport: { host: 'a', identity: '/secret' } },
      { name: 'oslo', quiet: ['1'] },
    ],
    schedule: { probe: '60s' },
    log: null,
  };
  const after = {
    mirrors: [
      { name: 'oslo', quiet: ['1', '2'] },
      { name: 'paris', transport: { host: 'b', identity: '/other', fsync: 'never' } },
      { name: 'rome' },
    ],
    inboxes: [{ builder: 'bpo', repositories: [] }],
    log: { level: 'debug' },
  };
  assert.deepEqual(changedKeys(before, after), [
    'mirrors.oslo.quiet',
    'mirrors.paris.transport.host',
    'mirrors.paris.transport.identity',
    'mirrors.paris.transport.fsync',
    'mirrors.rome',
    'inboxes',
    'log',
    'schedule',
  ]);
  assert.deepEqual(changedKeys(after, after), []);
  const many = changedKeys({}, Object.fromEntries(Array.from({ length: 60 }, (_, n) => [`k${n}`, n])));
  assert.deepEqual([many.length, many.at(-1)], [51, 'and 10 more']);
  assert.deepEqual(changedKeys({ a: [{ name: 'x' }, { name: 'x' }] }, { a: [{ name: 'x' }] }), ['a']);
});

test('a new root waits for a restart, and the inboxes stay below the old one', () => {
  const moved = config({ root: '/elsewhere', inboxes: [{ ...inbox('a'), path: '/elsewhere/inbox/a' }] });
  const plan = planReload(config(), moved);
  assert.deepEqual(plan.needsRestart, ['root']);
  assert.deepEqual([...plan.stop], []);
  assert.deepEqual(plan.config, config());
});
