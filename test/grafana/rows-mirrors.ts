/** The rows about the mirrors: how they are now, the objective, their lag. */
import { type DashboardBuilder, RowBuilder } from '@grafana/grafana-foundation-sdk/dashboard';
import { mirrorTable, stateWords } from './mirror-table.ts';
import {
  bars,
  blue,
  chosen,
  green,
  heatmap,
  lagSteps,
  lines,
  orangeFrom,
  quantile,
  stat,
  states,
  words,
} from './panels.ts';

/** The share of the generations that healthy mirrors had not in time, over a stretch of time. */
const lateShare = (over: string): string =>
  `sum(increase(lockstep_mirror_generations_total{${chosen}, outcome="late"}[${over}])) / sum(increase(lockstep_mirror_generations_total{${chosen}, outcome=~"in_time|late"}[${over}]))`;
export function now(board: DashboardBuilder): void {
  const behind = `max by (mirror) (lockstep_mirror_behind_since_timestamp_seconds{${chosen}})`;
  const lack = 'neither as pushed nor as observed';
  board
    .withRow(new RowBuilder('Now'))
    .withPanel(
      stat(
        { title: 'Mirrors in step', description: `Mirrors that lack nothing, ${lack}.`, width: 4 },
        `count(${behind} == 0) or vector(0)`,
        'none',
        [
          { color: 'red', value: null },
          { color: 'green', value: 1 },
        ],
      ),
    )
    .withPanel(
      stat(
        {
          title: 'Mirrors behind',
          description: 'Mirrors that lack at least the newest generation, as pushed or as observed.',
          width: 4,
        },
        `count(${behind} > 0) or vector(0)`,
        'none',
        orangeFrom(1),
      ),
    )
    .withPanel(
      stat(
        { title: 'Worst lag', description: 'Age of the oldest generation that some mirror lacks.', width: 4 },
        `max(lockstep_mirror_lag_seconds{${chosen}})`,
        's',
        lagSteps,
      ),
    )
    .withPanel(
      stat(
        { title: 'Generation', description: 'The newest published generation.', width: 4 },
        'max(lockstep_published_generation)',
        'none',
        blue,
      ),
    )
    .withPanel(
      stat(
        { title: 'Published', description: 'How long ago the newest generation was published.', width: 4 },
        'time() - max(lockstep_published_timestamp_seconds > 0)',
        's',
        orangeFrom(3 * 86_400),
      ),
    )
    .withPanel(
      stat(
        {
          title: 'Batches held',
          description: 'Batches that wait for a person or for the rest of their upload.',
          width: 4,
        },
        'sum(lockstep_batches_pending{state="held"})',
        'none',
        orangeFrom(1),
      ),
    )
    .withPanel(mirrorTable())
    .withPanel(stateTimeline());
}

function stateTimeline() {
  const order = ['in-sync', 'pushing', 'waiting', 'behind', 'unknown', 'blocked'];
  const each = order.map((state, n) => `lockstep_mirror_state{${chosen}, state="${state}"} * ${n + 1}`);
  const named = order.map((state, n) => [n + 1, stateWords[state] ?? [state, 'text']] as const);
  return states(
    { title: 'State of each mirror', description: 'How each mirror got on.', width: 24, height: 7 },
    // Only one of them is not 0.
    [[`max by (mirror) (${each.join(' or ')})`, '{{mirror}}']],
    words(Object.fromEntries(named)),
  );
}

export function objective(board: DashboardBuilder): void {
  board
    .withRow(new RowBuilder('Objective: 99 % of the generations on every healthy mirror within 15 minutes'))
    .withPanel(
      stat(
        {
          title: 'In time',
          description:
            'Of the generations of the time range, the share that healthy mirrors had within 15 minutes. What never came counts as late.',
          width: 6,
          height: 8,
        },
        `1 - (${lateShare('$__range')})`,
        'percentunit',
        [
          { color: 'red', value: null },
          { color: 'green', value: 0.99 },
        ],
      ),
    )
    .withPanel(
      lines(
        {
          title: 'Burn rate of the error budget',
          description:
            'How many times faster than allowed generations are late, over 6 hours. 1 uses up the budget in 30 days.',
          width: 9,
        },
        [[`(${lateShare('6h')}) / 0.01`, 'burn rate']],
        { limits: [green, { color: 'orange', value: 1 }, { color: 'red', value: 6 }] },
      ),
    )
    .withPanel(
      bars(
        {
          title: 'Late and excused generations',
          description:
            'Not on the mirror within 15 minutes. Excused: the mirror was blocked, did not answer, was full, in quiet hours or not filled yet.',
          width: 9,
        },
        [
          [
            `sum by (mirror, outcome) (increase(lockstep_mirror_generations_total{${chosen}, outcome=~"late|excused"}[$__rate_interval])) > 0`,
            '{{mirror}} {{outcome}}',
          ],
        ],
      ),
    )
    .withPanel(
      heatmap(
        { title: 'Propagation', description: 'From published to confirmed on the mirror.', width: 12 },
        `sum by (le) (increase(lockstep_propagation_seconds_bucket{${chosen}}[$__rate_interval]))`,
      ),
    )
    .withPanel(
      lines(
        {
          title: 'Propagation (median and 95 %)',
          description: 'From published to confirmed on the mirror.',
          width: 12,
        },
        [
          [quantile(0.5, 'mirror', `lockstep_propagation_seconds_bucket{${chosen}}`), '{{mirror}} median'],
          [quantile(0.95, 'mirror', `lockstep_propagation_seconds_bucket{${chosen}}`), '{{mirror}} 95 %'],
        ],
        { unit: 's' },
      ),
    );
}

export function lag(board: DashboardBuilder): void {
  const lagOf = (view: string): string => `max by (mirror) (lockstep_mirror_lag_seconds{${chosen}, view="${view}"})`;
  const behind = `max by (mirror) (lockstep_mirror_generations_behind{${chosen}, view="observed"})`;
  board
    .withRow(new RowBuilder('Lag'))
    .withPanel(
      lines(
        {
          title: 'Lag as observed',
          description:
            "Age of the first generation that the mirror's users do not get, by fetching its indexes. Dashed: the alerts' limits.",
          width: 12,
        },
        [[lagOf('observed'), '{{mirror}}']],
        { unit: 's', limits: lagSteps },
      ),
    )
    .withPanel(
      lines(
        {
          title: 'Lag as pushed',
          description:
            "Age of the first generation that the mirror was not confirmed to hold. Dashed: the alerts' limits.",
          width: 12,
        },
        [[lagOf('pushed'), '{{mirror}}']],
        { unit: 's', limits: lagSteps },
      ),
    )
    .withPanel(
      lines(
        { title: 'Generations', description: 'The newest generation, and how far each mirror is.', width: 12 },
        [
          ['max(lockstep_published_generation)', 'published'],
          [`max by (mirror) (lockstep_mirror_generation{${chosen}})`, '{{mirror}} pushed'],
          [`scalar(max(lockstep_published_generation)) - ${behind}`, '{{mirror}} observed'],
        ],
        { steps: true, decimals: 0 },
      ),
    )
    .withPanel(
      lines(
        {
          title: 'Generations behind as observed',
          description: "Generations that the mirror's users do not get yet.",
          width: 12,
        },
        [[behind, '{{mirror}}']],
        { steps: true, decimals: 0 },
      ),
    );
}
