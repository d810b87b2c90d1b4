import assert from 'node:assert/strict';
import test from 'node:test';
import { Metrics } from '../../src/observe/metrics.ts';
import { isSound } from '../../src/observe/scrub.ts';
import { renderScrub, renderScrubBlock } from '../../src/observe/scrub-text.ts';
import { hostile, mirrorFacts, nowMs, scrubStatus, statusFacts } from './facts.ts';
import { parseScrape } from './scrape.ts';

test('a scrub is in the metrics: when, how much, what is left', async () => {
  const metrics = new Metrics({ builders: [], mirrors: ['paris'], version: '0.1.0' });
  const facts = statusFacts({ mirrors: [mirrorFacts()], scrub: scrubStatus });
  const samples = parseScrape(await metrics.render(facts, nowMs, { root: 1, state: 1 }));
  const value = (name: string, outcome?: string): number | undefined =>
    samples.find((s) => s.name === name && (outcome === undefined || s.labels.outcome === outcome))?.value;
  assert.equal(value('lockstep_scrub_last_run_timestamp_seconds'), Date.UTC(2026, 10, 22, 5) / 1000);
  assert.equal(value('lockstep_scrub_files', 'checked'), 140);
  assert.equal(value('lockstep_scrub_files', 'corrupt'), 2);
  assert.equal(value('lockstep_scrub_files', 'repaired'), 1);
  assert.equal(value('lockstep_scrub_bytes'), 9_000_000);
  assert.equal(value('lockstep_damaged_files'), 1);
  assert.equal(value('lockstep_mirror_drift_files', 'found'), 5);
  assert.equal(value('lockstep_mirror_drift_files', 'unrepaired'), 2);
});

test('what could not be mended is not sound', () => {
  assert.equal(isSound(scrubStatus), false);
  const mirrors = scrubStatus.mirrors.map((m) => ({ ...m, repaired: 5 }));
  assert.equal(isSound({ ...scrubStatus, damaged: [], mirrors }), true);
  assert.equal(isSound({ ...scrubStatus, mirrors }), false);
  assert.equal(isSound({ ...scrubStatus, damaged: [] }), false);
  assert.equal(isSound({ ...scrubStatus, damaged: [], mirrors, error: 'the disk' }), false);
});

test('names and reasons cannot speak to the terminal', () => {
  const text = renderScrub({
    ...scrubStatus,
    error: hostile,
    foreign_files: [hostile],
    damaged: [{ path: hostile, found_at: '', detail: hostile }],
    mirrors: scrubStatus.mirrors.map((m) => ({ ...m, foreign_files: [hostile] })),
  });
  assert.ok(!text.includes('\u001b') && !text.includes('\u202e'));
  assert.match(renderScrubBlock(scrubStatus), /^damaged, no good copy found, not pushed: main/);
});
