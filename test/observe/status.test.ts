import assert from 'node:assert/strict';
import test from 'node:test';
import { allInStep, statusView } from '../../src/observe/status.ts';
import { batchFacts, mirrorFacts, nowMs, statusFacts } from './facts.ts';

const view = (changes: Parameters<typeof mirrorFacts>[0]) =>
  statusView(statusFacts({ mirrors: [mirrorFacts(changes)] }), nowMs).mirrors[0];

test('status.json has the fields of the contract', () => {
  const facts = statusFacts({
    mirrors: [
      mirrorFacts({
        state: 'waiting',
        generation: 10,
        pushedMissingSinceMs: nowMs - 61_999,
        observedGeneration: 9,
        observedMissingSinceMs: nowMs - 3_600_000,
        nextAttemptAtMs: nowMs + 30_000,
        lastError: { reason: 'refused', message: 'mirror.example.org:22 refuses connections' },
      }),
    ],
    announcements: [],
    batches: [batchFacts({ reasons: [{ code: 'SIG_BAD', path: 'main/x86_64/APKINDEX.tar.gz', detail: 'wrong' }] })],
  });
  assert.deepEqual(statusView(facts, nowMs), {
    version: 1,
    generation: 12,
    published_at: '2026-11-22T18:00:00Z',
    repositories: [
      {
        path: 'main/x86_64',
        index: 'APKINDEX.tar.gz',
        generation: 12,
        index_sha256: 'ab'.repeat(32),
        packages: 139,
        builder: 'bpo',
        signed_by: 'bpo.rsa.pub',
        signed_key: 'cd'.repeat(32),
        key_state: 'valid',
      },
    ],
    mirrors: [
      {
        name: 'paris',
        transport: 'rsync',
        url: 'https://mirror.example.org/pub/',
        state: 'waiting',
        generation: 10,
        lag_seconds: 61,
        observed_generation: 9,
        observed_lag_seconds: 3600,
        observed_at: '2026-11-22T18:09:40Z',
        observed_unknown_content: false,
        unanswered_seconds: null,
        observed_error: null,
        last_success_at: '2026-11-22T18:08:30Z',
        next_attempt_at: '2026-11-22T18:10:30Z',
        waits_for: null,
        takeover_after_seconds: null,
        taken_over_since: null,
        blocked_by: null,
        next_sync_at: null,
        sync_overdue: false,
        push_progress: null,
        sync_period_seconds: null,
        last_error: 'refused: mirror.example.org:22 refuses connections',
        clock_skew_seconds: null,
      },
    ],
    announcements: [],
    upstreams: [],
    batches: [
      {
        id: 'b1',
        builder: 'bpo',
        state: 'published',
        generation: 12,
        updated_at: '2026-11-22T18:00:00Z',
        reasons: [{ code: 'SIG_BAD', path: 'main/x86_64/APKINDEX.tar.gz', detail: 'wrong' }],
      },
    ],
    key_problems: [],
    state_problem: null,
    hooks: [],
    config: null,
    switch: null,
    scrub: facts.scrub,
  });
});

test('before the first generation nothing is published and nobody is behind', () => {
  const status = statusView(
    statusFacts({
      generation: 0,
      publishedAtMs: null,
      repositories: [],
      mirrors: [mirrorFacts({ state: 'unknown', generation: null, observedGeneration: null, observedAtMs: null })],
    }),
    nowMs,
  );
  assert.equal(status.published_at, null);
  assert.equal(allInStep(status), true);
});

test('a quiet repository never looks stale, however old its newest generation is', () => {
  const mirror = statusView(statusFacts({ publishedAtMs: nowMs - 30 * 86_400_000 }), nowMs).mirrors[0];
  assert.equal(mirror?.lag_seconds, 0);
  assert.equal(mirror.observed_lag_seconds, 0);
});

test('what was never observed is null, whatever the other fields say', () => {
  const mirror = view({ observedAtMs: null, observedGeneration: 4, observedMissingSinceMs: nowMs - 1000 });
  assert.equal(mirror?.observed_generation, null);
  assert.equal(mirror.observed_lag_seconds, null);
  assert.equal(mirror.observed_at, null);
});

test('a mirror that serves only unknown content has no observed lag', () => {
  const mirror = view({ observedGeneration: null, observedUnknownContent: true, observedMissingSinceMs: nowMs - 1000 });
  assert.equal(mirror?.observed_lag_seconds, null);
});

test('a clock that was set back makes no negative lag', () => {
  assert.equal(view({ pushedMissingSinceMs: nowMs + 5000, generation: 11 })?.lag_seconds, 0);
});

test('credentials in the URL of a mirror are not told', () => {
  assert.equal(view({ url: 'https://user:secret@mirror.example.org/pub/' })?.url, 'https://mirror.example.org/pub/');
});

test('the batch that changed last comes first', () => {
  const facts = statusFacts({
    batches: [batchFacts({ id: 'old', updatedAtMs: 1000 }), batchFacts({ id: 'new', updatedAtMs: 2000 })],
  });
  assert.deepEqual(
    statusView(facts, nowMs).batches.map((b) => b.id),
    ['new', 'old'],
  );
});

test('in step is: confirmed at the newest generation and not seen to serve anything else', () => {
  const cases: [Parameters<typeof mirrorFacts>[0], boolean][] = [
    [{}, true],
    [{ state: 'pushing' }, true],
    [{ observedAtMs: null, observedGeneration: null }, true],
    [{ generation: 11 }, false],
    [{ generation: null }, false],
    [{ observedGeneration: 11 }, false],
    [{ observedUnknownContent: true }, false],
    [{ observedUnknownContent: true, observedGeneration: null }, false],
  ];
  for (const [changes, expected] of cases) {
    const facts = statusFacts({ mirrors: [mirrorFacts({ name: 'other' }), mirrorFacts(changes)] });
    assert.equal(allInStep(statusView(facts, nowMs)), expected, JSON.stringify(changes));
  }
});
