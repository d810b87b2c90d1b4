import assert from 'node:assert/strict';
import test from 'node:test';
import { renderStatusText } from '../../src/observe/status-text.ts';
import { statusView } from '../../src/observe/status.ts';
import type { UpstreamFacts } from '../../src/observe/upstreams.ts';
import { hostile, nowMs, pageText, statusFacts } from './facts.ts';

const fed: UpstreamFacts = {
  builder: 'up',
  says: { primary: 'one.example.org', generation: 40, publishedAtMs: nowMs - 120_000, named: 5, lacking: 0 },
  generation: 12,
  publishedAtMs: nowMs - 60_000,
};

const text = (facts: UpstreamFacts): string =>
  renderStatusText(statusView(statusFacts({ upstreams: [facts] }), nowMs), { terminal: false, nowMs });

test('status says who feeds this host, what that host says it brought, and how old the newest is here', () => {
  assert.match(
    text(fed),
    /^upstream up \(says it is one\.example\.org\): brought its generation 40, published there 2 min ago; the newest of it here is our generation 12, published 1 min ago$/m,
  );
});

test('status says what of the upstream is not served here, and that an upstream says nothing', () => {
  const says = { primary: null, generation: 41, publishedAtMs: nowMs, named: 5, lacking: 2 };
  assert.match(
    text({ ...fed, says }),
    /^upstream up: brought its generation 41, published there now, 2 of whose 5 indexes are not served here; /m,
  );
  assert.match(
    text({ ...fed, says: null, generation: null, publishedAtMs: null }),
    /^upstream up: left no lockstep\.json that can be read; nothing of it is published here$/m,
  );
});

test('what an upstream calls itself reaches neither a terminal nor the page as it is', () => {
  const evil = { ...fed, says: { primary: hostile, generation: 1, publishedAtMs: nowMs, named: 0, lacking: 0 } };
  assert.doesNotMatch(text(evil).replaceAll('\n', ''), /[\p{Cc}\u202e]/u);
  assert.doesNotMatch(pageText(statusView(statusFacts({ upstreams: [evil] }), nowMs), nowMs), /<script>alert|\u202e/u);
});
