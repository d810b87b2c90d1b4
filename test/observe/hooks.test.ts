import assert from 'node:assert/strict';
import test from 'node:test';
import { configView } from '../../src/observe/config.ts';
import { renderConfigBlock } from '../../src/observe/config-text.ts';
import { hookPayload } from '../../src/observe/hook-payload.ts';
import { type HookFacts, hookView } from '../../src/observe/hooks.ts';
import { renderHooksBlock } from '../../src/observe/hooks-text.ts';
import { Metrics } from '../../src/observe/metrics.ts';
import { whenText } from '../../src/observe/words.ts';
import { hostile, nowMs, statusFacts } from './facts.ts';
import { parseScrape, type Sample } from './scrape.ts';

const instant = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());
const hook = (changes: Partial<HookFacts> = {}): HookFacts => {
  return { name: 'mail', on: ['held'], running: false, pending: 0, dropped: 0, last: null, ...changes };
};

function valueOf(
  samples: readonly Sample[],
  name: string,
  labels: Readonly<Record<string, string>>,
): number | undefined {
  const fits = (sample: Sample): boolean =>
    Object.entries(labels).every(([key, value]) => sample.labels[key] === value);
  return samples.find((sample) => sample.name === name && fits(sample))?.value;
}

test('a hook that works takes no line; one that failed, or has missed events, does, and steers no terminal', () => {
  const line = (changes: Partial<HookFacts>): string => renderHooksBlock([hookView(hook(changes), instant)]);
  const ended = { endedAtMs: nowMs, detail: null };
  assert.equal(line({}), '');
  assert.equal(line({ last: { ...ended, outcome: 'ok' } }), '');
  assert.equal(
    line({ pending: 3, last: { ...ended, outcome: 'again', detail: 'exit\u001b[2J\ncode' } }),
    'hook mail again: exit\\u{1b}[2J code; 3 events pending\n',
  );
  assert.equal(
    line({ dropped: 1, last: { ...ended, outcome: 'ok' } }),
    'hook mail works again; 0 events pending, 1 event dropped\n',
  );
  assert.doesNotMatch(line({ name: hostile, dropped: 1 }), /[\p{Cc}\p{Cf}](?!$)/u);
});

test('the configuration takes lines only while it is not that of the file', () => {
  const facts = {
    file: '/etc/x.yaml',
    loadedAtMs: nowMs - 7_200_000,
    failedAtMs: null,
    problems: [],
    needsRestart: [],
  };
  const text = (changes: object): string =>
    renderConfigBlock(
      configView({ ...facts, ...changes }, (ms) => new Date(ms).toISOString()),
      (at) => whenText(at, nowMs),
    );
  assert.deepEqual([text({}), renderConfigBlock(null, String)], ['', '']);
  assert.equal(
    text({ needsRestart: ['listen', 'publish.grace'] }),
    'changed in the configuration, and waiting for a restart: listen, publish.grace\n',
  );
  const problems = Array.from({ length: 7 }, (_, n) => `x.yaml:${n}: bad\u001b`);
  const lines = text({ failedAtMs: nowMs - 60_000, problems }).split('\n');
  assert.equal(lines[0], 'the reload 1 min ago was refused; in use is the configuration that was read 2 h ago');
  assert.deepEqual([lines[1], lines[6]], ['  x.yaml:0: bad\\u{1b}', '  … and 2 more: see lockstepd check']);
});

test('series of hooks come and go with the configuration', async () => {
  const metrics = new Metrics({ version: '0', builders: [], mirrors: [], hooks: ['a', 'gone'] });
  const scrape = async () =>
    parseScrape(
      await metrics.render(statusFacts({ hooks: [hook({ name: 'a', pending: 4 })] }), nowMs, { root: 0, state: 0 }),
    );
  metrics.hooks.ended('a', 'timeout', 2);
  metrics.hooks.missed('a', 3);
  metrics.hooks.ended('stranger', 'ok', 1);
  const before = await scrape();
  assert.equal(valueOf(before, 'lockstep_hook_runs_total', { hook: 'a', outcome: 'timeout' }), 1);
  assert.equal(valueOf(before, 'lockstep_hook_runs_total', { hook: 'gone', outcome: 'ok' }), 0);
  assert.equal(valueOf(before, 'lockstep_hook_events_dropped_total', { hook: 'a' }), 3);
  assert.equal(valueOf(before, 'lockstep_hook_events_pending', { hook: 'a' }), 4);
  assert.equal(valueOf(before, 'lockstep_hook_seconds_count', { hook: 'a' }), 1);
  metrics.setTargets({ builders: [], mirrors: [], hooks: ['a', 'new'] });
  const after = await scrape();
  assert.equal(valueOf(after, 'lockstep_hook_runs_total', { hook: 'a', outcome: 'timeout' }), 1);
  assert.equal(valueOf(after, 'lockstep_hook_runs_total', { hook: 'new', outcome: 'ok' }), 0);
  assert.equal(
    after.some(({ labels }) => labels.hook === 'gone' || labels.hook === 'stranger'),
    false,
  );
});

test('a summary is one short line, whatever the event holds', () => {
  const detail = 'x'.repeat(1000);
  const payload = hookPayload(
    {
      id: 1,
      atMs: 0,
      facts: { event: 'mirror_blocked', mirror: 'paris', blockedBy: 'operator', reason: null, detail },
    },
    'p',
    null,
  );
  assert.equal(payload.summary.length, 300);
  assert.match(payload.summary, /^mirror paris is blocked by hand: x+…$/);
  const recovered = { event: 'mirror_recovered', mirror: 'paris', generation: null } as const;
  assert.equal(hookPayload({ id: 1, atMs: 0, facts: recovered }, 'p', null).summary, 'mirror paris has recovered');
  const pruned = hookPayload({ id: 1, atMs: 0, facts: { event: 'published', generation: 3, batch: 'b' } }, 'p', null);
  assert.deepEqual('indexes' in pruned && pruned.indexes, []);
});
