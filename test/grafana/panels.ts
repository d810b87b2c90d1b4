/** The panels of the dashboard as functions: a query or some, and what is shown of them. The look is decided here, the content in dashboard.ts. */
import {
  AxisPlacement,
  BigValueColorMode,
  BigValueGraphMode,
  BigValueTextMode,
  type DataSourceRef,
  GraphDrawStyle,
  GraphThresholdsStyleConfigBuilder,
  GraphThresholdsStyleMode,
  LegendDisplayMode,
  LegendPlacement,
  LineInterpolation,
  ReduceDataOptionsBuilder,
  SortOrder,
  StackingConfigBuilder,
  StackingMode,
  TimelineValueAlignment,
  TooltipDisplayMode,
  VisibilityMode,
  VizLegendOptionsBuilder,
  VizTooltipOptionsBuilder,
} from '@grafana/grafana-foundation-sdk/common';
import {
  FieldColorBuilder,
  FieldColorModeId,
  MappingType,
  type Threshold,
  ThresholdsConfigBuilder,
  ThresholdsMode,
  type ValueMapping,
} from '@grafana/grafana-foundation-sdk/dashboard';
import {
  FilterValueRangeBuilder,
  HeatmapColorMode,
  HeatmapColorOptionsBuilder,
  HeatmapTooltipBuilder,
  PanelBuilder as HeatmapBuilder,
  YAxisConfigBuilder,
} from '@grafana/grafana-foundation-sdk/heatmap';
import { DataqueryBuilder, PromQueryFormat, QueryEditorMode } from '@grafana/grafana-foundation-sdk/prometheus';
import { PanelBuilder as StatBuilder } from '@grafana/grafana-foundation-sdk/stat';
import { PanelBuilder as StateTimelineBuilder } from '@grafana/grafana-foundation-sdk/statetimeline';
import { PanelBuilder as TimeseriesBuilder } from '@grafana/grafana-foundation-sdk/timeseries';

/** Whatever the person who imports the dashboard chooses. */
export const source: DataSourceRef = { type: 'prometheus', uid: '${datasource}' };

/** The limits of MirrorLagging, in seconds. */
export const lagSteps: Threshold[] = [
  { color: 'green', value: null },
  { color: 'orange', value: 1800 },
  { color: 'red', value: 21_600 },
];
export const green: Threshold = { color: 'green', value: null };
export const blue: Threshold[] = [{ color: 'blue', value: null }];
export const orangeFrom = (value: number): Threshold[] => [green, { color: 'orange', value }];

/** The matcher of the mirrors that are chosen. */
export const chosen = 'mirror=~"$mirror"';

/** Of a histogram, for each value of the label `by`. */
export function quantile(q: number, by: string, metric: string): string {
  return `histogram_quantile(${q}, sum by (le, ${by}) (rate(${metric}[$__rate_interval])))`;
}

const plain: Threshold[] = [{ color: 'text', value: null }];

/** What is common to all panels: their title, the sentence that explains them, their width of 24 columns. */
interface Frame {
  readonly title: string;
  readonly description: string;
  readonly width: number;
  readonly height?: number;
}

/** An expression, and the name of its series. */
export type Query = readonly [expr: string, legend: string];

/** How Grafana calls the queries of a panel. */
export function letter(n: number): string {
  return String.fromCodePoint('A'.codePointAt(0)! + n);
}

function rangeQuery([expr, legend]: Query, n: number): DataqueryBuilder {
  const query = new DataqueryBuilder().refId(letter(n)).datasource(source).expr(expr).legendFormat(legend).range();
  return query.editorMode(QueryEditorMode.Code);
}

function instantQuery(expr: string, n: number): DataqueryBuilder {
  const query = new DataqueryBuilder().refId(letter(n)).datasource(source).expr(expr).legendFormat('__auto').instant();
  return query.editorMode(QueryEditorMode.Code);
}

export function tableQuery(expr: string, n: number): DataqueryBuilder {
  return instantQuery(expr, n).format(PromQueryFormat.Table);
}

export function thresholds(steps: Threshold[]): ThresholdsConfigBuilder {
  return new ThresholdsConfigBuilder().mode(ThresholdsMode.Absolute).steps(steps);
}

/** Values as coloured words, in this order. */
export function words(named: Readonly<Record<string, readonly [text: string, color: string]>>): ValueMapping[] {
  const options = Object.entries(named).map(
    ([value, [text, color]], index) => [value, { text, color, index }] as const,
  );
  return [{ type: MappingType.ValueToText, options: Object.fromEntries(options) }];
}

function legendBelow(): VizLegendOptionsBuilder {
  return new VizLegendOptionsBuilder()
    .displayMode(LegendDisplayMode.List)
    .placement(LegendPlacement.Bottom)
    .showLegend(true)
    .calcs([]);
}

/** One number, of now. */
export function stat(frame: Frame, expr: string, unit: string, steps: Threshold[]): StatBuilder {
  return new StatBuilder()
    .title(frame.title)
    .description(frame.description)
    .span(frame.width)
    .height(frame.height ?? 4)
    .datasource(source)
    .unit(unit)
    .thresholds(thresholds(steps))
    .colorScheme(new FieldColorBuilder().mode(FieldColorModeId.Thresholds))
    .colorMode(BigValueColorMode.Value)
    .graphMode(BigValueGraphMode.None)
    .textMode(BigValueTextMode.Auto)
    .reduceOptions(new ReduceDataOptionsBuilder().calcs(['lastNotNull']).fields('').values(false))
    .withTarget(instantQuery(expr, 0));
}

export interface LineOptions {
  readonly unit?: string;
  readonly steps?: boolean;
  readonly stacked?: boolean;
  readonly decimals?: number;
  /** True for what can be below 0. */
  readonly signed?: boolean;
  /** Drawn as dashed lines. */
  readonly limits?: Threshold[];
}

function graph(frame: Frame, queries: readonly Query[], { unit = 'none', decimals, signed = false }: LineOptions) {
  const panel = new TimeseriesBuilder()
    .title(frame.title)
    .description(frame.description)
    .span(frame.width)
    .height(frame.height ?? 8)
    .datasource(source)
    .unit(unit)
    .colorScheme(new FieldColorBuilder().mode(FieldColorModeId.PaletteClassic))
    .showPoints(VisibilityMode.Never)
    .spanNulls(false)
    .axisPlacement(AxisPlacement.Auto)
    .legend(legendBelow())
    .tooltip(new VizTooltipOptionsBuilder().mode(TooltipDisplayMode.Multi).sort(SortOrder.Descending));
  if (decimals !== undefined) panel.decimals(decimals);
  if (!signed) panel.min(0);
  for (const [n, query] of queries.entries()) panel.withTarget(rangeQuery(query, n));
  return panel;
}

/** Values over time. */
export function lines(frame: Frame, queries: readonly Query[], options: LineOptions = {}): TimeseriesBuilder {
  const { steps = false, stacked = false, limits } = options;
  const panel = graph(frame, queries, options)
    .drawStyle(GraphDrawStyle.Line)
    .lineWidth(2)
    .fillOpacity(stacked ? 20 : 0)
    .lineInterpolation(steps ? LineInterpolation.StepAfter : LineInterpolation.Linear)
    .stacking(new StackingConfigBuilder().mode(stacked ? StackingMode.Normal : StackingMode.None).group('A'))
    .thresholds(thresholds(limits ?? [{ color: 'green', value: null }]));
  const style = limits ? GraphThresholdsStyleMode.Dashed : GraphThresholdsStyleMode.Off;
  return panel.thresholdsStyle(new GraphThresholdsStyleConfigBuilder().mode(style));
}

/** How often something happened, in each stretch of time. */
export function bars(frame: Frame, queries: readonly Query[]): TimeseriesBuilder {
  return graph(frame, queries, {})
    .interval('1m')
    .drawStyle(GraphDrawStyle.Bars)
    .lineWidth(1)
    .fillOpacity(70)
    .stacking(new StackingConfigBuilder().mode(StackingMode.Normal).group('A'));
}

/** Which state each thing was in, and when. */
export function states(frame: Frame, queries: readonly Query[], named: ValueMapping[]): StateTimelineBuilder {
  const panel = new StateTimelineBuilder()
    .title(frame.title)
    .description(frame.description)
    .span(frame.width)
    .height(frame.height ?? 8)
    .datasource(source)
    .mappings(named)
    .thresholds(thresholds(plain))
    .colorScheme(new FieldColorBuilder().mode(FieldColorModeId.Thresholds))
    .fillOpacity(75)
    .lineWidth(0)
    .spanNulls(false)
    .mergeValues(true)
    .showValue(VisibilityMode.Auto)
    .alignValue(TimelineValueAlignment.Left)
    .rowHeight(0.85)
    .legend(legendBelow())
    .tooltip(new VizTooltipOptionsBuilder().mode(TooltipDisplayMode.Single).sort(SortOrder.None));
  for (const [n, query] of queries.entries()) panel.withTarget(rangeQuery(query, n));
  return panel;
}

/** The buckets of a histogram over time, in seconds. */
export function heatmap(frame: Frame, expr: string): HeatmapBuilder {
  return new HeatmapBuilder()
    .title(frame.title)
    .description(frame.description)
    .span(frame.width)
    .height(frame.height ?? 8)
    .datasource(source)
    .interval('5m')
    .calculate(false)
    .cellGap(1)
    .color(
      new HeatmapColorOptionsBuilder()
        .mode(HeatmapColorMode.Scheme)
        .scheme('Blues')
        .exponent(0.5)
        .steps(64)
        .reverse(false),
    )
    .filterValues(new FilterValueRangeBuilder().le(1e-9))
    .showLegend()
    .tooltip(new HeatmapTooltipBuilder().mode(TooltipDisplayMode.Single).yHistogram(false))
    .yAxis(new YAxisConfigBuilder().unit('s').axisPlacement(AxisPlacement.Left))
    .withTarget(rangeQuery([expr, '{{le}}'], 0).format(PromQueryFormat.Heatmap));
}
