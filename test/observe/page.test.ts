import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import test from 'node:test';
import { pagePolicy, renderPage } from '../../src/observe/page.ts';
import { statusView } from '../../src/observe/status.ts';
import {
  batchFacts,
  brokerFacts,
  hostile,
  mirrorFacts,
  nowMs,
  repositoryFacts,
  scrubStatus,
  statusFacts,
} from './facts.ts';

const pageOf = (facts: Parameters<typeof statusFacts>[0]): string =>
  renderPage(statusView(statusFacts(facts), nowMs), nowMs);

test('the page tells how many mirrors are in step, and each row says why one is not', () => {
  const page = pageOf({
    mirrors: [
      mirrorFacts(),
      mirrorFacts({
        name: 'tokyo',
        state: 'waiting',
        generation: 10,
        pushedMissingSinceMs: nowMs - 3600_000,
        observedGeneration: 9,
        observedMissingSinceMs: nowMs - 7200_000,
        lastError: { reason: 'dns', message: 'no such host' },
      }),
      mirrorFacts({ name: 'lima', observedUnknownContent: true }),
    ],
    batches: [
      batchFacts({
        state: 'held',
        generation: null,
        reasons: Array.from({ length: 8 }, (_, i) => ({
          code: 'INCOMPLETE' as const,
          path: `p${i}`,
          detail: 'missing',
        })),
      }),
    ],
  });
  assert.match(page, /<h1>1 of 3 mirrors in step, generation 12<\/h1>/);
  assert.match(page, /<header class="bad">/);
  assert.match(page, /10 <small>2 behind for 1 h<\/small>/);
  assert.match(page, /9 <small>3 behind for 2 h<\/small>/);
  assert.match(page, /dns: no such host/);
  assert.match(page, /an index that was never published here/);
  assert.match(page, /<li>… and 3 more<\/li>/);
  assert.match(page, /<meta http-equiv="refresh" content="10">/);
});

test('the page of a fresh daemon says that nothing is published', () => {
  const page = pageOf({ generation: 0, publishedAtMs: null, repositories: [], mirrors: [], batches: [] });
  assert.match(page, /Nothing published yet/);
  assert.match(page, /None is configured/);
});

test('a repository whose key is not trusted any more stands out', () => {
  const page = pageOf({
    repositories: [repositoryFacts(), repositoryFacts({ path: 'edge/x86_64', keyState: 'removed' })],
  });
  assert.match(page, /<tr><td data-of="Repository">main\/x86_64/);
  assert.match(page, /<tr class="bad"><td data-of="Repository">edge\/x86_64.*<strong>not trusted any more: removed</);
});

test('the page tells what the terminal tells: clocks, damage, brokers that are behind, keys, a switch that waits', () => {
  const page = pageOf({
    mirrors: [mirrorFacts({ clockSkewSeconds: -7200 })],
    scrub: scrubStatus,
    announcements: [
      brokerFacts(),
      brokerFacts({ name: 'away', state: 'waiting', generation: 9, lastError: 'refused' }),
      brokerFacts({ name: hostile, state: 'blocked' }),
    ],
    keyProblems: [{ builder: 'bpo', path: '/k/a.pub', detail: hostile }],
    switching: { generation: 12, waits: true, has: 1, of: 2, stragglers: [hostile], untilMs: nowMs + 60_000 },
  });
  assert.match(page, /its clock is 2 h slow: its admin should set it/);
  assert.match(page, /<p>damaged, no good copy found, not pushed: main\/x86_64\/a-1-r0\.apk: other bytes<\/p>/);
  assert.match(page, /<p>broker away: waiting, told of generation 9 10 min ago: refused<\/p>/);
  assert.doesNotMatch(page, /broker broker/, 'one that is in step is no news');
  assert.match(page, /<p>key of inbox bpo not used: \/k\/a\.pub: /);
  assert.match(page, /<p>generation 12 waits to be shown by all mirrors together: 1 of 2 have its packages/);
  assert.ok(!page.includes('<script') && !page.includes('\u001b') && !page.includes('\u202e'));
});

test('hostile text stays text everywhere on the page', () => {
  const page = pageOf({
    repositories: [repositoryFacts({ path: hostile, indexSha256: hostile, signedBy: hostile })],
    mirrors: [
      mirrorFacts({
        name: hostile,
        transport: hostile,
        url: 'https://example.org/"onclick=alert(1)',
        lastError: { reason: 'unknown', message: hostile },
      }),
    ],
    batches: [
      batchFacts({ id: hostile, builder: hostile, reasons: [{ code: 'NAME', path: hostile, detail: hostile }] }),
    ],
  });
  assert.doesNotMatch(page, /<script|alert\('|[\p{Cc}\p{Cf}](?<!\n)/u);
  const tags = new Set([...page.matchAll(/<\/?([a-z0-9!]+)/g)].map((m) => m[1]));
  const expected =
    'a b body code footer h1 h2 head header html li main meta p section small span style table tbody td th thead time title tr ul';
  assert.deepEqual(
    [...tags].filter((tag) => tag !== '!doctype' && !expected.split(' ').includes(tag ?? '')),
    [],
  );
  assert.doesNotMatch(page, /"onclick/);
});

test('only web addresses become links', () => {
  assert.match(pageOf({}), /<a href="https:\/\/mirror\.example\.org\/pub\/"/);
  const page = pageOf({ mirrors: [mirrorFacts({ url: 'javascript:alert(1)' })] });
  assert.doesNotMatch(page, /href="javascript/);
});

test('the policy names the style sheet that the page carries, and no script', () => {
  const style = /<style>([\s\S]*)<\/style>/.exec(pageOf({}))?.[1] ?? '';
  assert.ok(style.length > 100);
  assert.ok(pagePolicy.includes(`'sha256-${createHash('sha256').update(style).digest('base64')}'`));
  assert.match(pagePolicy, /^default-src 'none';/);
  assert.doesNotMatch(pagePolicy, /script|unsafe/);
  assert.doesNotMatch(pageOf({}), / style="| on[a-z]+="/);
});
