import assert from 'node:assert/strict';
import test from 'node:test';
import { pushFailureReasons, verificationCodes } from '../../src/errors.ts';
import { arrivalOutcomes } from '../../src/observe/arrivals.ts';
import { hookOutcomes } from '../../src/observe/hooks.ts';
import { mirrorStates } from '../../src/observe/status.ts';
import { fullScrape, promtool, queriesOf, readDashboard, readRules } from './monitoring.ts';
import { type Matcher, readPromql, type Selector } from './promql.ts';
import { parseScrape } from './scrape.ts';

const dashboard = await readDashboard();
const rules = (await readRules()).groups.flatMap((group) => group.rules);
const exprs = [...queriesOf(dashboard), ...rules.map((rule) => rule.expr)];

test('promtool has nothing against a scrape with every metric', async (t) =>
  promtool(t, ['check', 'metrics'], await fullScrape()));

/** The labels of each metric: those of a scrape, and those that Prometheus itself gives to every series. */
const samples = parseScrape(await fullScrape());
const given = ['job', 'instance'];
const recorded = new Map(
  rules.flatMap(({ record, expr }) => {
    const labels = readPromql(expr).groupings.find(({ keyword }) => keyword === 'by')?.labels;
    return record !== undefined && labels ? [[record, labels] as const] : [];
  }),
);

function labelsOf(name: string): readonly string[] {
  if (name === 'up') return given;
  const ruled = recorded.get(name);
  if (ruled) return ruled;
  const series = samples.filter((sample) => sample.name === name);
  assert.notEqual(series.length, 0, `the daemon exports ${name}`);
  return [...given, ...Object.keys(series[0]?.labels ?? {})];
}

test('every query and rule asks for metrics that the daemon exports, by labels that these have', () => {
  const all = exprs.flatMap((expr) => readPromql(expr).selectors);
  assert.ok(all.length > 100, `${all.length} selectors were read`);
  for (const { name, matchers } of all) {
    for (const matcher of matchers.filter(({ label }) => label !== 'job')) {
      assert.ok(labelsOf(name).includes(matcher.label), `${name} has the label ${matcher.label}`);
      assertPossible(name, matcher);
    }
    labelsOf(name);
  }
});

test('what is grouped by a label has it', () => {
  for (const expr of exprs) {
    for (const { keyword, labels, selectors } of readPromql(expr).groupings) {
      assert.notEqual(selectors.length, 0, expr);
      const has = (label: string) => (selector: Selector) => labelsOf(selector.name).includes(label);
      for (const label of labels) {
        const fits = keyword === 'by' ? selectors.every(has(label)) : selectors.some(has(label));
        assert.ok(fits, `${keyword} (${label}) in ${expr}`);
      }
    }
  }
});

test('each series is named by labels that its query leaves', () => {
  for (const { title, targets = [] } of dashboard.panels) {
    for (const { expr, legendFormat } of targets) {
      const { selectors, groupings } = readPromql(expr);
      const by = groupings.filter(({ keyword }) => keyword === 'by').flatMap(({ labels }) => labels);
      const left = by.length > 0 ? by : selectors.flatMap(({ name }) => labelsOf(name));
      for (const [, label = ''] of legendFormat.matchAll(/\{\{(\w+)\}\}/g))
        assert.ok(left.includes(label), `${title}: {{${label}}} of ${expr}`);
    }
  }
});

const closed: Readonly<Record<string, readonly string[]>> = {
  outcome: [
    'published',
    'held',
    'rejected',
    'ok',
    'retryable',
    'permanent',
    'found',
    'unrepaired',
    ...arrivalOutcomes,
    ...hookOutcomes,
  ],
  by: ['permanent', 'security', 'operator'],
  state: [...mirrorStates, 'held', 'waiting'],
  view: ['pushed', 'observed'],
  filesystem: ['root', 'state'],
  reason: [...pushFailureReasons, ...verificationCodes],
};

/** A literal value must be of the label's closed set, or the query can never match. */
function assertPossible(name: string, { label, value }: Matcher): void {
  if (value === '$mirror') return;
  for (const one of value.split('|')) assert.ok(closed[label]?.includes(one), `${name}{${label}="${one}"} can match`);
}

test('the reader of expressions sees selectors, matchers and groupings', () => {
  const expr =
    'sum by (job, mirror) (rate(lockstep_a_total{mirror=~"x|(y)", view!="z"}[5m])) > on (le) group_left () a:b:c1d unless lockstep_b offset 3d > 5e9 * 1024 ^ 2';
  const { selectors, groupings } = readPromql(expr);
  assert.deepEqual(
    selectors.map(({ name, matchers }) => [name, ...matchers.map((m) => m.label + m.operator + m.value)]),
    [['lockstep_a_total', 'mirror=~x|(y)', 'view!=z'], ['a:b:c1d'], ['lockstep_b']],
  );
  assert.deepEqual(
    groupings.map(({ keyword, labels, selectors: inside }) => [keyword, labels, inside.map(({ name }) => name)]),
    [
      ['by', ['job', 'mirror'], ['lockstep_a_total']],
      ['on', ['le'], ['lockstep_a_total', 'a:b:c1d', 'lockstep_b']],
      ['group_left', [], ['lockstep_a_total', 'a:b:c1d', 'lockstep_b']],
    ],
  );
});
