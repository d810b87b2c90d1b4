import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { config, promtool, queriesOf, readDashboard } from '../observe/monitoring.ts';
import { dashboardText } from './dashboard.ts';

const dashboard = await readDashboard();

test('the file that ships is what the generator makes: npm run dashboard', async () => {
  assert.equal(await readFile(join(config, 'grafana/lockstepd.json'), 'utf8'), dashboardText());
});

test('promtool can parse every query', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'lockstepd-queries-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const file = join(directory, 'queries.yml');
  const rules = queriesOf(dashboard).map((expr, i) => ({ record: `query:number_${i}`, expr: withoutVariables(expr) }));
  // JSON is YAML.
  await writeFile(file, JSON.stringify({ groups: [{ name: 'dashboard', rules }] }));
  await promtool(t, ['check', 'rules', file]);
});

function withoutVariables(expr: string): string {
  return expr.replaceAll('$__rate_interval', '5m').replaceAll('$__range', '6h').replaceAll('$mirror', '.*');
}

test('the panels have their own ids and places, and each query its own letter', () => {
  const { panels } = dashboard;
  assert.ok(panels.length > 40);
  assert.equal(new Set(panels.map((panel) => panel.id)).size, panels.length);
  for (const panel of panels) {
    const { x, y, w, h } = panel.gridPos;
    assert.ok(x >= 0 && x + w <= 24 && w > 0 && h > 0, `${panel.title} is on the grid`);
    const refs = (panel.targets ?? []).map((target) => target.refId);
    assert.equal(new Set(refs).size, refs.length, panel.title);
    assert.ok(
      panel.type === 'row' || (refs.length > 0 && panel.description),
      `${panel.title} shows and tells something`,
    );
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

test('the dashboard asks for its data source, offers the mirrors, and marks each publish', () => {
  assert.deepEqual(
    dashboard.templating.list.map((variable) => [variable.name, variable.type]),
    [
      ['datasource', 'datasource'],
      ['mirror', 'query'],
    ],
  );
  assert.deepEqual(
    dashboard.annotations.list.map(({ name, expr }) => [name, expr]),
    [['Published', 'max by (instance) (lockstep_published_timestamp_seconds > 0) * 1000']],
  );
  const sources = JSON.stringify(dashboard).match(/"uid":"[^"]*"/g) ?? [];
  assert.deepEqual(new Set(sources), new Set(['"uid":"${datasource}"', '"uid":"lockstepd-mirrors"']));
});
