/** Writes the table of mirrors of the status page, a row for each; the worst first. */
import type { LagSeries } from './lag-history.ts';
import { calmSpan, type Column, html, pill, webLink, when } from './page-html.ts';
import { sparklineHeight, sparklinePath, worstLag } from './sparkline.ts';
import { reasonsOf, standingOf, worstFirst } from './standing.ts';
import type { MirrorStatus, Status } from './status.ts';

export const mirrorColumns: readonly Column[] = [
  { title: 'Mirror' },
  { title: 'State' },
  { title: 'Generation', number: true },
  { title: 'Lag pushed', number: true },
  { title: 'Lag observed', number: true },
  { title: 'Last success', number: true },
  { title: 'Next try', number: true },
  { title: 'Worst lag, 24 h' },
  { title: 'Worst lag, 7 d' },
  { title: 'Reason' },
];

export const mirrorsNote =
  'Lag is how long users lack something: by our records, and as seen over HTTP. The lines are logarithmic, their top is one day.';

/** The id of a mirror's row. */
export function rowId(name: string): string {
  return `m-${encodeURIComponent(name.toWellFormed())}`;
}

/** The rows by their ids, in order. */
export function mirrorRows(status: Status, lag: readonly LagSeries[], nowMs: number): Map<string, string> {
  const lines = sparklinesOf(lag, status.mirrors.length);
  return new Map(
    worstFirst(status).map((mirror) => {
      const id = rowId(mirror.name);
      return [id, mirrorRow(id, mirror, { lines: lines(mirror.name), newest: status.generation, nowMs })];
    }),
  );
}

function mirrorRow(
  id: string,
  mirror: MirrorStatus,
  { lines, newest, nowMs }: { lines: readonly string[]; newest: number; nowMs: number },
): string {
  const { tone, word } = standingOf(mirror, newest);
  const cells = [
    pill(tone, word),
    generationText(mirror.generation, newest),
    mirror.generation === null ? '?' : lagText(mirror.lag_seconds),
    observedCell(mirror),
    when(mirror.last_success_at, nowMs),
    when(mirror.next_attempt_at ?? mirror.next_sync_at, nowMs),
    ...lines,
    html(reasonsOf(mirror).join('; ')),
  ];
  return row(id, tone, `${webLink(mirror.url, mirror.name)} <small>${html(mirror.transport)}</small>`, cells);
}

/** `name` and `cells` are HTML. */
export function row(id: string, tone: string, name: string, cells: readonly string[]): string {
  return `<tr id="${id}" class="${tone}"><th scope="row">${name}</th>${cells.map((cell) => `<td>${cell}</td>`).join('')}</tr>`;
}

export function generationText(generation: number | null, newest: number): string {
  if (generation === null) return '?';
  return generation >= newest ? String(generation) : `${generation} <small>${newest - generation} behind</small>`;
}

export function lagText(seconds: number): string {
  return seconds === 0 ? '0' : calmSpan(seconds);
}

function observedCell(mirror: MirrorStatus): string {
  if (mirror.observed_unknown_content) return '<strong>unknown content</strong>';
  if (mirror.observed_at === null) return '<small>not looked at</small>';
  const { observed_generation: seen, observed_lag_seconds: lag } = mirror;
  if (seen === null || lag === null) return '?';
  return `${lagText(lag)}${seen === mirror.generation ? '' : ` <small>serves ${seen}</small>`}`;
}

/** Above so many mirrors a line has half as many steps, or the page would be heavy. */
const fullLines = 100;
const lineWidth = 96;

/**
 * The cells of a day and of a week by the name of a mirror: the line, and the largest of its lags as text. `mirrors`: how many
 * there are on the page.
 */
export function sparklinesOf(lag: readonly LagSeries[], mirrors: number): (name: string) => [string, string] {
  const series = new Map(lag.map((one) => [one.mirror, one]));
  const steps = mirrors > fullLines ? 24 : 48;
  return (name) => {
    const { day = [], week = [] } = series.get(name) ?? {};
    return [sparkline(day, steps), sparkline(week, steps)];
  };
}

function sparkline(lags: readonly (number | null)[], steps: number): string {
  const worst = worstLag(lags);
  if (worst === null) return '<small>not known</small>';
  const path = sparklinePath(lags, steps, lineWidth / steps);
  return `<svg viewBox="0 0 ${lineWidth} ${sparklineHeight + 1}" aria-hidden="true"><path d="${path}"/></svg> ${lagText(worst)}`;
}
