/** The Grafana dashboard: what is on it, in which order. config/grafana/lockstepd.json is what this makes, see main.ts. */
import {
  AnnotationQueryBuilder,
  DashboardBuilder,
  DashboardCursorSync,
  DatasourceVariableBuilder,
  QueryVariableBuilder,
  VariableRefresh,
  VariableSort,
} from '@grafana/grafana-foundation-sdk/dashboard';
import { source } from './panels.ts';
import { lag, now, objective } from './rows-mirrors.ts';
import { batches, content, daemon, pushes, waiting } from './rows-work.ts';

/** The dashboard as the text of its file. */
export function dashboardText(): string {
  const board = dashboard().build();
  const panels = (board.panels ?? []).map((panel, n) => ({ ...panel, id: n + 1 }));
  return `${JSON.stringify({ ...board, panels }, null, 2)}\n`;
}

function dashboard(): DashboardBuilder {
  const board = new DashboardBuilder('lockstepd')
    .uid('lockstepd-mirrors')
    .description('Mirrors of a package repository: which generation each one holds and serves, and how it got there.')
    .tags(['lockstepd'])
    .editable()
    .tooltip(DashboardCursorSync.Crosshair)
    .refresh('30s')
    .time({ from: 'now-6h', to: 'now' })
    .timezone('')
    .withVariable(new DatasourceVariableBuilder('datasource').label('Data source').type('prometheus'))
    .withVariable(mirrorVariable())
    .annotation(publishes());
  now(board);
  objective(board);
  lag(board);
  batches(board);
  pushes(board);
  waiting(board);
  content(board);
  daemon(board);
  return board;
}

function mirrorVariable(): QueryVariableBuilder {
  const query = 'label_values(lockstep_mirror_state, mirror)';
  return new QueryVariableBuilder('mirror')
    .label('Mirror')
    .datasource(source)
    .definition(query)
    .query({ query, refId: 'mirrors' })
    .refresh(VariableRefresh.OnTimeRangeChanged)
    .sort(VariableSort.AlphabeticalAsc)
    .multi(true)
    .includeAll(true)
    .allValue('.*')
    .current({ selected: true, text: ['All'], value: ['$__all'] });
}

/** The metric's value is the moment; Grafana draws each value once. */
function publishes(): AnnotationQueryBuilder {
  return new AnnotationQueryBuilder()
    .name('Published')
    .datasource(source)
    .enable(true)
    .hide(false)
    .iconColor('blue')
    .expr('max by (instance) (lockstep_published_timestamp_seconds > 0) * 1000')
    .step('60s')
    .useValueForTime(true)
    .titleFormat('Generation published')
    .textFormat('')
    .tagKeys('instance');
}
