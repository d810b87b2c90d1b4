/** The table of mirrors: one row each, put together from one query a column. */
import {
  TableCellDisplayMode,
  TableCellHeight,
  type TableCellOptions,
  TableSortByFieldStateBuilder,
} from '@grafana/grafana-foundation-sdk/common';
import {
  type DynamicConfigValue,
  type Threshold,
  ThresholdsMode,
  type ValueMapping,
} from '@grafana/grafana-foundation-sdk/dashboard';
import { PanelBuilder as TableBuilder } from '@grafana/grafana-foundation-sdk/table';
import { lagSteps, letter, source, tableQuery, thresholds, words } from './panels.ts';

export const stateWords: Readonly<Record<string, readonly [text: string, color: string]>> = {
  'in-sync': ['in-sync', 'green'],
  pushing: ['pushing', 'blue'],
  waiting: ['waiting', 'yellow'],
  behind: ['behind', 'orange'],
  unknown: ['unknown', 'text'],
  blocked: ['blocked', 'red'],
};
export const breakerWords = words({ 0: ['closed', 'green'], 1: ['half-open', 'yellow'], 2: ['open', 'orange'] });

interface Column {
  readonly title: string;
  readonly expr: string;
  /** The label that is shown instead of the value. */
  readonly label?: string;
  readonly unit?: string;
  readonly steps?: Threshold[];
  readonly words?: ValueMapping[];
}

const ofMirror = (metric: string, matcher = ''): string =>
  `max by (mirror) (lockstep_${metric}{mirror=~"$mirror"${matcher}})`;
const pushed = ', view="pushed"';
const observed = ', view="observed"';
const inRange = (outcome: string): string =>
  `sum by (mirror) (increase(lockstep_mirror_generations_total{mirror=~"$mirror", ${outcome}}[$__range]))`;

const columns: readonly Column[] = [
  {
    title: 'State',
    expr: 'max by (mirror, state) (lockstep_mirror_state{mirror=~"$mirror"} == 1)',
    label: 'state',
    words: words(stateWords),
  },
  { title: 'Generation', expr: ofMirror('mirror_generation') },
  { title: 'Behind, pushed', expr: ofMirror('mirror_generations_behind', pushed) },
  { title: 'Lag, pushed', expr: ofMirror('mirror_lag_seconds', pushed), unit: 's', steps: lagSteps },
  { title: 'Behind, observed', expr: ofMirror('mirror_generations_behind', observed) },
  { title: 'Lag, observed', expr: ofMirror('mirror_lag_seconds', observed), unit: 's', steps: lagSteps },
  {
    title: 'Late',
    expr: `${inRange('outcome="late"')} / ${inRange('outcome=~"in_time|late"')}`,
    unit: 'percentunit',
    steps: [
      { color: 'green', value: null },
      { color: 'orange', value: 0.01 },
    ],
  },
  {
    title: 'Content',
    expr: ofMirror('mirror_content_unknown'),
    words: words({ 0: ['ours', 'green'], 1: ['unknown', 'red'] }),
  },
  { title: 'Probe', expr: ofMirror('probe_success'), words: words({ 0: ['failed', 'red'], 1: ['ok', 'green'] }) },
  { title: 'Breaker', expr: ofMirror('mirror_breaker_state'), words: breakerWords },
  {
    title: 'Blocked by',
    expr: 'max by (mirror, by) (lockstep_mirror_blocked{mirror=~"$mirror"} == 1)',
    label: 'by',
    words: words({ permanent: ['permanent', 'red'], security: ['security', 'red'], operator: ['operator', 'orange'] }),
  },
  {
    title: 'Taken over',
    expr: ofMirror('mirror_taken_over'),
    words: words({ 0: ['no', 'text'], 1: ['yes', 'orange'] }),
  },
  {
    title: 'Pull',
    expr: ofMirror('mirror_sync_overdue'),
    words: words({ 0: ['on time', 'green'], 1: ['overdue', 'orange'] }),
  },
  { title: 'Clock', expr: ofMirror('mirror_clock_skew_seconds'), unit: 's' },
];

export function mirrorTable(): TableBuilder {
  const table = new TableBuilder()
    .title('Mirrors')
    .description(
      'Each mirror: its state, what was pushed to it, what its users get, and what deserves a look. Late: the share of the generations of the time range that a healthy mirror had not within 15 minutes. Blocked by: a failure that needs a person (permanent, security), or a person.',
    )
    .span(24)
    .height(8)
    .datasource(source)
    .thresholds(thresholds([{ color: 'text', value: null }]))
    .cellHeight(TableCellHeight.Sm)
    .showHeader(true)
    .sortBy([new TableSortByFieldStateBuilder().displayName('Lag, observed').desc(true)]);
  for (const [n, column] of columns.entries()) {
    table.withTarget(tableQuery(column.expr, n));
    const look = lookOf(column);
    if (look.length > 0) table.overrideByName(column.title, look);
  }
  return table
    .withTransformation({ id: 'joinByField', options: { byField: 'mirror', mode: 'outer' } })
    .withTransformation(order());
}

function lookOf({ unit, steps, words: named }: Column): DynamicConfigValue[] {
  const text: TableCellOptions = { type: TableCellDisplayMode.ColorText };
  return [
    ...(unit === undefined ? [] : [{ id: 'unit', value: unit }]),
    ...(steps ? [{ id: 'thresholds', value: { mode: ThresholdsMode.Absolute, steps } }] : []),
    ...(named ? [{ id: 'mappings', value: named }] : []),
    ...(steps || named ? [{ id: 'custom.cellOptions', value: text }] : []),
  ];
}

/** Grafana calls the values after the letters of their queries, and gives each query a time of its own. */
function order(): { readonly id: string; readonly options: unknown } {
  const shown = columns.map(({ title, label }, n) => [label ?? `Value #${letter(n)}`, title] as const);
  const times = ['Time', ...columns.map((_, n) => `Time ${n + 1}`)];
  const hidden = [...times, ...columns.flatMap(({ label }, n) => (label === undefined ? [] : `Value #${letter(n)}`))];
  return {
    id: 'organize',
    options: {
      excludeByName: Object.fromEntries(hidden.map((name) => [name, true])),
      indexByName: Object.fromEntries([['mirror', 0], ...shown.map(([name], n) => [name, n + 1])]),
      renameByName: Object.fromEntries([['mirror', 'Mirror'], ...shown]),
    },
  };
}
