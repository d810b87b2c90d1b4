import assert from 'node:assert/strict';
import test from 'node:test';
import { Metrics } from '../../src/observe/metrics.ts';
import { holdsExactly } from '../../src/observe/observation.ts';
import { statusView } from '../../src/observe/status.ts';
import { renderStatusText } from '../../src/observe/status-text.ts';
import { mirrorFacts, nowMs, pageText, statusFacts } from './facts.ts';
import { parseScrape } from './scrape.ts';

const sync = { periodMs: 3_600_000, nextMs: nowMs + 600_000, overdue: false };

test('of a mirror that pulls the status tells how often, when next, and whether it is overdue', async () => {
  const facts = statusFacts({ mirrors: [mirrorFacts({ transport: 'pull', sync })] });
  const status = statusView(facts, nowMs);
  const { sync_period_seconds: period, next_sync_at: next, sync_overdue: overdue } = status.mirrors[0] ?? {};
  assert.deepEqual([period, next, overdue], [3600, '2026-11-22T18:20:00Z', false]);
  assert.match(renderStatusText(status, { terminal: false, nowMs }), /in 10 min/);
  assert.match(pageText(status, nowMs), /in 10 min/);
  const late = statusView(statusFacts({ mirrors: [mirrorFacts({ sync: { ...sync, overdue: true } })] }), nowMs);
  for (const shown of [renderStatusText(late, { terminal: false, nowMs }), pageText(late, nowMs)])
    assert.match(shown, /overdue: it pulls about every 1 h, ask its admin/);

  const metrics = new Metrics({ builders: [], mirrors: ['paris'], version: '0' });
  const free = { root: 1, state: 1 };
  const samples = parseScrape(await metrics.render(facts, nowMs, free));
  const valueOf = (name: string): unknown => samples.find((s) => s.name === name)?.value;
  assert.equal(valueOf('lockstep_mirror_sync_period_seconds'), 3600);
  assert.equal(valueOf('lockstep_mirror_next_sync_timestamp_seconds'), (nowMs + 600_000) / 1000);
  assert.equal(valueOf('lockstep_mirror_sync_overdue'), 0);
  const without = parseScrape(await metrics.render(statusFacts({ mirrors: [mirrorFacts()] }), nowMs, free));
  assert.ok(!without.some((s) => s.name.includes('_sync_')), 'what is not estimated has no series');
});

test('a mirror holds a generation when every index has its bytes, and no other is served', () => {
  const indexes = ['a', 'b'].map((repository) => ({ repository, file: 'APKINDEX.tar.gz', sha256: `${repository}1` }));
  const seen = (a: object, b: object, c: object = { absent: true }) =>
    new Map([
      ['a/APKINDEX.tar.gz', a],
      ['b/APKINDEX.tar.gz', b],
      ['c/APKINDEX.tar.gz', c],
    ]);
  assert.equal(holdsExactly(indexes, seen({ sha256: 'a1' }, { sha256: 'b1' })), true);
  assert.equal(holdsExactly(indexes, seen({ sha256: 'a1' }, { sha256: 'b2' })), false);
  assert.equal(holdsExactly(indexes, seen({ sha256: 'a1' }, { absent: true })), false);
  assert.equal(holdsExactly(indexes, seen({ sha256: 'a1' }, { sha256: 'b1' }, { sha256: 'c1' })), false);
});
