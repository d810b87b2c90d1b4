import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import test, { type TestContext } from 'node:test';
import { parse } from 'yaml';
import { Metrics } from '../../src/observe/metrics.ts';
import { mirrorStates } from '../../src/observe/status.ts';
import { errnoOf, pushFailureReasons, verificationCodes } from '../../src/errors.ts';
import { exec } from '../../src/system/exec.ts';
import { brokerFacts, mirrorFacts, nowMs, scrubStatus, statusFacts } from './facts.ts';
import { parseScrape } from './scrape.ts';

const config = resolve(import.meta.dirname, '../../config');
const rulesFile = join(config, 'prometheus/lockstepd.rules.yml');

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly { readonly refId: string; readonly expr: string }[];
}

interface Dashboard {
  readonly schemaVersion: number;
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly { readonly name: string; readonly type: string }[] };
  readonly annotations: { readonly list: readonly { readonly expr?: string }[] };
}

const dashboard = JSON.parse(await readFile(join(config, 'grafana/lockstepd.json'), 'utf8')) as Dashboard;
const dashboardExprs = [
  ...dashboard.panels.flatMap((panel) => panel.targets ?? []).map((target) => target.expr),
  ...dashboard.annotations.list.flatMap((annotation) => annotation.expr ?? []),
];

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}
const rules = (parse(await readFile(rulesFile, 'utf8')) as { groups: { rules: Rule[] }[] }).groups.flatMap(
  (g) => g.rules,
);

/** A scrape in which every metric has at least one series. */
async function fullScrape(): Promise<string> {
  const metrics = new Metrics({ builders: ['bpo'], mirrors: ['paris'], brokers: ['broker'], version: '0.1.0' });
  metrics.probed('paris', { success: true, durationSeconds: 0.1, clockSkewSeconds: 0 });
  const sync = { periodMs: 3_600_000, nextMs: nowMs, overdue: false };
  const mirrors = [mirrorFacts({ takeoverAfterMs: 600_000, sync })];
  const facts = statusFacts({ mirrors, announcements: [brokerFacts()], scrub: scrubStatus });
  return metrics.render(facts, nowMs, { root: 50e9, state: 1e9 });
}

/** Runs promtool; null, with a skipped test, when it is not installed. */
async function promtool(t: TestContext, args: readonly string[], input?: string): Promise<void> {
  try {
    const result = await exec(['promtool', ...args], { timeoutMs: 120_000, ...(input === undefined ? {} : { input }) });
    assert.equal(result.code, 0, `promtool ${args.join(' ')}: ${result.stdout}${result.stderr}`);
    assert.equal(args.includes('metrics') ? result.stderr : '', '', 'the lint has nothing to say');
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    t.skip('promtool absent: rules, dashboard queries and metrics were not checked by Prometheus itself');
  }
}

test('promtool accepts the rules', (t) => promtool(t, ['check', 'rules', rulesFile]));

test('each alert fires when it should and is quiet when it should', (t) =>
  promtool(t, ['test', 'rules', join(config, 'prometheus/lockstepd.test.yml')]));

test('promtool has nothing against a real scrape', async (t) => promtool(t, ['check', 'metrics'], await fullScrape()));

test('promtool can parse every query of the dashboard', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'lockstepd-queries-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const file = join(directory, 'queries.yml');
  const recorded = dashboardExprs.map((expr, i) => ({ record: `query:number_${i}`, expr: withoutVariables(expr) }));
  // JSON is YAML.
  await writeFile(file, JSON.stringify({ groups: [{ name: 'dashboard', rules: recorded }] }));
  await promtool(t, ['check', 'rules', file]);
});

function withoutVariables(expr: string): string {
  return expr.replaceAll('$__rate_interval', '5m').replaceAll('$mirror', '.*');
}

/** What an expression asks of which metric: a name, and the label matchers that follow it. */
function selectorsOf(expr: string) {
  const found = [...expr.matchAll(/\b((?:lockstep|process|nodejs)_\w+|up)\b(?:\{([^}]*)\})?/g)];
  return found.map((m) => ({
    name: m[1] ?? '',
    matchers: [...(m[2] ?? '').matchAll(/(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"/g)].map((l) => ({
      label: l[1] ?? '',
      operator: l[2] ?? '',
      value: l[3] ?? '',
    })),
  }));
}

/** The labels that an expression groups or joins by. */
function groupingsOf(expr: string): string[] {
  return [...expr.matchAll(/\b(?:by|on|without)\s*\(([^)]*)\)/g)].flatMap((m) =>
    (m[1] ?? '').split(',').map((l) => l.trim()),
  );
}

// Prometheus itself gives these to every series.
const given = ['job', 'instance'];

test('every metric and label that a query or a rule uses is one that the daemon has', async () => {
  const samples = parseScrape(await fullScrape());
  const everyLabel = new Set([...given, ...samples.flatMap((sample) => Object.keys(sample.labels))]);
  const exprs = [...dashboardExprs, ...rules.map((rule) => rule.expr)];
  const used = exprs.flatMap(selectorsOf);
  assert.ok(used.length > 50, `${used.length} selectors were read`);
  for (const { name, matchers } of used.filter((selector) => selector.name !== 'up')) {
    const series = samples.filter((sample) => sample.name === name);
    assert.notEqual(series.length, 0, `${name} exists`);
    for (const { label, operator, value } of matchers.filter((m) => !given.includes(m.label))) {
      assert.ok(
        series.every((sample) => label in sample.labels),
        `${name} has the label ${label}`,
      );
      if (operator === '=') assertPossible(name, label, value);
    }
  }
  for (const label of exprs.flatMap(groupingsOf))
    assert.ok(everyLabel.has(label), `some metric has the label ${label}`);
});

/** A literal value must be of the label's closed set, or the query can never match. */
function assertPossible(name: string, label: string, value: string): void {
  const closed: Record<string, readonly string[]> = {
    outcome: ['published', 'held', 'rejected', 'ok', 'retryable', 'permanent', 'aborted', 'found', 'unrepaired'],
    by: ['permanent', 'security', 'operator'],
    state: [...mirrorStates, 'held', 'waiting'],
    view: ['pushed', 'observed'],
    filesystem: ['root', 'state'],
    reason: [...pushFailureReasons, ...verificationCodes],
  };
  assert.ok(closed[label]?.includes(value) ?? false, `${name}{${label}="${value}"} can match`);
}

test('the reader of expressions sees names, matchers and groupings', () => {
  const expr = 'sum by (job, mirror) (rate(lockstep_a_total{mirror=~"x", view="y"}[5m])) > on (le) lockstep_b';
  assert.deepEqual(
    selectorsOf(expr).map((s) => [s.name, s.matchers.map((m) => m.label + m.operator + m.value)]),
    [
      ['lockstep_a_total', ['mirror=~x', 'view=y']],
      ['lockstep_b', []],
    ],
  );
  assert.deepEqual(groupingsOf(expr), ['job', 'mirror', 'le']);
});

test('each alert says how bad, what and what to do', () => {
  assert.ok(rules.length >= 13);
  for (const { alert, labels, annotations } of rules) {
    assert.match(labels.severity ?? '', /^(critical|warning|info)$/, alert);
    assert.ok((annotations.summary ?? '').length > 10 && (annotations.description ?? '').length > 40, alert);
  }
});

test('the panels have their own ids and places, and each query its own letter', () => {
  const { panels } = dashboard;
  assert.ok(dashboard.schemaVersion >= 39);
  assert.equal(new Set(panels.map((panel) => panel.id)).size, panels.length);
  for (const panel of panels) {
    const { x, y, w, h } = panel.gridPos;
    assert.ok(x >= 0 && x + w <= 24 && w > 0 && h > 0, `${panel.title} is on the grid`);
    const refs = (panel.targets ?? []).map((target) => target.refId);
    assert.equal(new Set(refs).size, refs.length, panel.title);
    assert.ok(panel.type === 'row' || refs.length > 0, `${panel.title} shows something`);
    const overlapping = panels.filter(
      (other) =>
        other !== panel &&
        x < other.gridPos.x + other.gridPos.w &&
        other.gridPos.x < x + w &&
        y < other.gridPos.y + other.gridPos.h &&
        other.gridPos.y < y + h,
    );
    assert.deepEqual(
      overlapping.map((other) => other.title),
      [],
      `${panel.title} overlaps nothing`,
    );
  }
});

test('the dashboard asks for its data source and offers the mirrors', () => {
  assert.deepEqual(
    dashboard.templating.list.map((variable) => [variable.name, variable.type]),
    [
      ['datasource', 'datasource'],
      ['mirror', 'query'],
    ],
  );
  const sources = JSON.stringify(dashboard).match(/"uid":"[^"]*"/g) ?? [];
  assert.deepEqual(
    [...new Set(sources)].sort((a, b) => a.localeCompare(b)),
    ['"uid":"-- Grafana --"', '"uid":"${datasource}"', '"uid":"lockstepd-mirrors"'].sort((a, b) => a.localeCompare(b)),
  );
});
