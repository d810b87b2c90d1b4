import assert from 'node:assert/strict';
import test from 'node:test';
import { pushFailureReasons, verificationCodes } from '../../src/errors.ts';
import { Metrics } from '../../src/observe/metrics.ts';
import { batchFacts, hostile, mirrorFacts, nowMs, statusFacts, repositoryFacts } from './facts.ts';
import { parseScrape, type Sample } from './scrape.ts';

const free = { root: 50e9, state: 1e9 };
const make = (): Metrics => new Metrics({ builders: ['bpo'], mirrors: ['paris'], version: '0.1.0' });

async function scrape(metrics: Metrics, facts = statusFacts()): Promise<readonly Sample[]> {
  return parseScrape(await metrics.render(facts, nowMs, free));
}

function valueOf(samples: readonly Sample[], name: string, labels: Record<string, string> = {}): number | undefined {
  const found = samples.filter((s) => s.name === name && Object.entries(labels).every(([k, v]) => s.labels[k] === v));
  assert.ok(found.length <= 1, `${name} ${JSON.stringify(labels)} is one series`);
  return found[0]?.value;
}

test('every counter exists with 0 from the start, for each label value', async () => {
  const samples = await scrape(make());
  const zero = (name: string, labels: Record<string, string>): void =>
    assert.equal(valueOf(samples, name, labels), 0, `${name} ${JSON.stringify(labels)}`);
  for (const outcome of ['published', 'held', 'rejected']) zero('lockstep_batches_total', { builder: 'bpo', outcome });
  for (const reason of verificationCodes) zero('lockstep_batch_rejections_total', { builder: 'bpo', reason });
  for (const outcome of ['ok', 'retryable', 'permanent', 'aborted']) {
    zero('lockstep_push_attempts_total', { mirror: 'paris', outcome });
  }
  for (const reason of pushFailureReasons) zero('lockstep_push_failures_total', { mirror: 'paris', reason });
  zero('lockstep_push_bytes_total', { mirror: 'paris' });
  zero('lockstep_watch_rescan_found_total', {});
  zero('lockstep_propagation_seconds_count', { mirror: 'paris' });
  for (const stage of ['settle', 'copy', 'verify', 'publish']) zero('lockstep_stage_seconds_count', { stage });
  for (const state of ['waiting', 'held']) zero('lockstep_batches_pending', { builder: 'bpo', state });
  assert.equal(valueOf(samples, 'lockstep_build_info', { version: '0.1.0' }), 1);
  assert.equal(valueOf(samples, 'lockstep_config_last_reload_successful'), 1);
});

test('what the daemon did is counted', async () => {
  const metrics = make();
  metrics.batchEnded('bpo', 'published', []);
  metrics.batchEnded('bpo', 'rejected', ['SIG_BAD', 'SIG_BAD', 'NAME']);
  metrics.batchEnded('bpo', 'held', ['INCOMPLETE']);
  metrics.pushAttempt('paris', 'retryable');
  metrics.pushFailed('paris', 'dns');
  metrics.pushedBytes('paris', 1000);
  metrics.pushedBytes('paris', 24);
  metrics.propagated('paris', 2);
  metrics.stage('verify', 0.3);
  metrics.rescanFound(3);
  metrics.configReload(false, 1000);
  metrics.probed('paris', { success: false, durationSeconds: 0.25, clockSkewSeconds: -3 });
  const samples = await scrape(metrics);
  assert.equal(valueOf(samples, 'lockstep_batches_total', { outcome: 'published' }), 1);
  assert.equal(valueOf(samples, 'lockstep_batches_total', { outcome: 'rejected' }), 1);
  assert.equal(valueOf(samples, 'lockstep_batch_rejections_total', { reason: 'SIG_BAD' }), 1, 'once for each batch');
  assert.equal(valueOf(samples, 'lockstep_batch_rejections_total', { reason: 'INCOMPLETE' }), 1);
  assert.equal(valueOf(samples, 'lockstep_push_attempts_total', { outcome: 'retryable' }), 1);
  assert.equal(valueOf(samples, 'lockstep_push_failures_total', { reason: 'dns' }), 1);
  assert.equal(valueOf(samples, 'lockstep_push_bytes_total'), 1024);
  assert.equal(valueOf(samples, 'lockstep_propagation_seconds_sum'), 2);
  assert.equal(valueOf(samples, 'lockstep_propagation_seconds_bucket', { le: '1' }), 0);
  assert.equal(valueOf(samples, 'lockstep_propagation_seconds_bucket', { le: '2.5' }), 1);
  assert.equal(valueOf(samples, 'lockstep_stage_seconds_count', { stage: 'verify' }), 1);
  assert.equal(valueOf(samples, 'lockstep_watch_rescan_found_total'), 3);
  assert.equal(valueOf(samples, 'lockstep_config_last_reload_successful'), 0);
  assert.equal(valueOf(samples, 'lockstep_probe_success'), 0);
  assert.equal(valueOf(samples, 'lockstep_probe_duration_seconds'), 0.25);
  assert.equal(valueOf(samples, 'lockstep_mirror_clock_skew_seconds'), -3);
});

test('what ages is computed at the scrape, for what was pushed and what is observed', async () => {
  const behind = mirrorFacts({
    state: 'behind',
    generation: 10,
    pushedMissingSinceMs: nowMs - 120_500,
    observedGeneration: 7,
    observedMissingSinceMs: nowMs - 7200_000,
  });
  const samples = await scrape(make(), statusFacts({ mirrors: [behind] }));
  const both = (name: string) =>
    ['pushed', 'observed'].map((view) => valueOf(samples, name, { mirror: 'paris', view }));
  assert.deepEqual(both('lockstep_mirror_lag_seconds'), [120, 7200]);
  assert.deepEqual(both('lockstep_mirror_generations_behind'), [2, 5]);
  assert.deepEqual(both('lockstep_mirror_behind_since_timestamp_seconds'), [
    (nowMs - 120_500) / 1000,
    (nowMs - 7200_000) / 1000,
  ]);
  assert.equal(valueOf(samples, 'lockstep_mirror_generation', { mirror: 'paris' }), 10);
  assert.equal(valueOf(samples, 'lockstep_published_generation'), 12);
  assert.equal(valueOf(samples, 'lockstep_published_timestamp_seconds'), (nowMs - 600_000) / 1000);
  assert.equal(valueOf(samples, 'lockstep_index_packages', { repository: 'main/x86_64' }), 139);
  assert.equal(valueOf(samples, 'lockstep_filesystem_free_bytes', { filesystem: 'root' }), 50e9);
});

test('a scrape shows no mirror, repository or state of the scrape before', async () => {
  const metrics = make();
  await scrape(metrics);
  const samples = await scrape(metrics, statusFacts({ mirrors: [mirrorFacts({ name: 'tokyo' })], repositories: [] }));
  assert.deepEqual(
    samples.filter(
      ({ name, labels }) =>
        name.startsWith('lockstep_mirror_') && !name.endsWith('_total') && labels.mirror !== 'tokyo',
    ),
    [],
  );
  assert.equal(valueOf(samples, 'lockstep_index_packages'), undefined);
});

test('a mirror is in exactly one state', async () => {
  const samples = await scrape(make(), statusFacts({ mirrors: [mirrorFacts({ state: 'blocked' })] }));
  const states = samples.filter((s) => s.name === 'lockstep_mirror_state');
  assert.equal(states.length, 6);
  assert.deepEqual(
    states.filter((s) => s.value === 1).map((s) => s.labels.state),
    ['blocked'],
  );
});

test('who blocked a mirror is a label: what a person did is no alarm at once', async () => {
  for (const by of ['permanent', 'security', 'operator'] as const) {
    const samples = await scrape(make(), statusFacts({ mirrors: [mirrorFacts({ blockedBy: by })] }));
    const blocked = samples.filter((s) => s.name === 'lockstep_mirror_blocked');
    assert.equal(blocked.length, 3);
    assert.deepEqual(
      blocked.filter((s) => s.value === 1).map((s) => s.labels.by),
      [by],
    );
  }
});

test('in step is 0, not a frozen age; what was never observed has no series', async () => {
  const samples = await scrape(
    make(),
    statusFacts({ mirrors: [mirrorFacts({ observedAtMs: null, observedGeneration: null, url: null })] }),
  );
  assert.equal(valueOf(samples, 'lockstep_mirror_behind_since_timestamp_seconds', { view: 'pushed' }), 0);
  assert.deepEqual(
    samples.filter((s) => s.labels.view === 'observed' || s.name === 'lockstep_mirror_content_unknown'),
    [],
  );
  assert.equal(valueOf(samples, 'lockstep_probe_success'), undefined);
});

test('unknown content is an alarm of its own and not a lag', async () => {
  const mirror = mirrorFacts({ observedUnknownContent: true, observedGeneration: null, observedMissingSinceMs: 1000 });
  const samples = await scrape(make(), statusFacts({ mirrors: [mirror] }));
  assert.equal(valueOf(samples, 'lockstep_mirror_content_unknown', { mirror: 'paris' }), 1);
  assert.equal(valueOf(samples, 'lockstep_mirror_lag_seconds', { view: 'observed' }), undefined);
});

test('open batches are counted for each builder', async () => {
  const batches = [
    batchFacts({ state: 'held' }),
    batchFacts({ id: 'b2', state: 'held' }),
    batchFacts({ id: 'b3', state: 'waiting', builder: 'other' }),
  ];
  const samples = await scrape(make(), statusFacts({ batches }));
  assert.equal(valueOf(samples, 'lockstep_batches_pending', { builder: 'bpo', state: 'held' }), 2);
  assert.equal(valueOf(samples, 'lockstep_batches_pending', { builder: 'bpo', state: 'waiting' }), 0);
});

test('after a reload the series of what is gone are gone, and late news of it is dropped', async () => {
  const metrics = make();
  metrics.pushAttempt('paris', 'ok');
  metrics.propagated('paris', 1);
  metrics.probed('paris', { success: true, durationSeconds: 1, clockSkewSeconds: 0 });
  metrics.setTargets({ builders: ['ci'], mirrors: ['tokyo'] });
  metrics.pushAttempt('paris', 'ok');
  metrics.pushFailed('paris', 'dns');
  metrics.pushedBytes('paris', 1);
  metrics.propagated('paris', 1);
  metrics.probed('paris', { success: true, durationSeconds: 1, clockSkewSeconds: 0 });
  metrics.batchEnded('bpo', 'rejected', ['NAME']);
  const samples = await scrape(metrics, statusFacts({ mirrors: [], batches: [] }));
  assert.deepEqual(
    samples.filter((s) => s.labels.mirror === 'paris' || s.labels.builder === 'bpo'),
    [],
  );
  assert.equal(valueOf(samples, 'lockstep_push_attempts_total', { mirror: 'tokyo', outcome: 'ok' }), 0);
  assert.equal(valueOf(samples, 'lockstep_batches_total', { builder: 'ci', outcome: 'held' }), 0);
});

test('a reload keeps the counts of what stays', async () => {
  const metrics = make();
  metrics.pushAttempt('paris', 'ok');
  metrics.propagated('paris', 1);
  metrics.setTargets({ builders: ['bpo'], mirrors: ['paris', 'tokyo'] });
  const samples = await scrape(metrics);
  assert.equal(valueOf(samples, 'lockstep_push_attempts_total', { mirror: 'paris', outcome: 'ok' }), 1);
  assert.equal(valueOf(samples, 'lockstep_propagation_seconds_count', { mirror: 'paris' }), 1);
});

test('thousands of repositories do not become thousands of series', async () => {
  const repositories = Array.from({ length: 5000 }, (_, i) => repositoryFacts({ path: `staging/${i}/x86_64` }));
  const samples = await scrape(make(), statusFacts({ repositories }));
  assert.equal(samples.filter((s) => s.name === 'lockstep_index_packages').length, 1000);
});

test('a hostile repository name cannot forge a line', async () => {
  const repositories = [repositoryFacts({ path: `${hostile}lockstep_forged 1\n` })];
  const text = await make().render(statusFacts({ repositories }), nowMs, free);
  assert.doesNotMatch(text, /^lockstep_forged/m);
});

test('an index whose key is not trusted any more is told, however many repositories there are', async () => {
  const repositories = Array.from({ length: 2000 }, (_, i) =>
    repositoryFacts({ path: `staging/${i}/x86_64`, keyState: i === 1999 ? 'removed' : 'valid' }),
  );
  const samples = await scrape(make(), statusFacts({ repositories }));
  const told = samples.filter((s) => s.name === 'lockstep_index_key_untrusted');
  assert.equal(told.length, 1000);
  assert.deepEqual(
    told.filter((s) => s.value === 1).map((s) => s.labels.repository),
    ['staging/1999/x86_64'],
  );
});

test('key files that cannot be used are counted for each builder', async () => {
  const problem = { builder: 'bpo', path: '/keys/a.pub', detail: 'broken' };
  const samples = await scrape(make(), statusFacts({ keyProblems: [problem, { ...problem, path: '/keys/b.pub' }] }));
  assert.equal(valueOf(samples, 'lockstep_keys_unusable', { builder: 'bpo' }), 2);
  const sound = await scrape(make(), statusFacts());
  assert.equal(valueOf(sound, 'lockstep_keys_unusable', { builder: 'bpo' }), 0);
});
