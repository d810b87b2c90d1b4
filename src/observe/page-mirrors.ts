/** Writes the table of mirrors of the status page, a row for each; the worst first. */
import type { LagSeries } from './lag-history.ts';
import { briefSpan, calmSpan, type Column, html, shortened, type Tone, webLink, when } from './page-html.ts';
import { progressPercent } from './progress.ts';
import { sparklinePath, worstLag } from './sparkline.ts';
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
  return elementId('m', name);
}

/** An id that is the same in an attribute and in a link, whatever `name` holds. */
export function elementId(kind: string, name: string): string {
  const escaped = encodeURIComponent(name.toWellFormed()).replaceAll(
    /[!'()*~]/g,
    (c) => `%${c.charCodeAt(0).toString(16)}`,
  );
  return `${kind}-${escaped}`;
}

/** The rows by their ids, in order. */
export function mirrorRows(status: Status, lag: readonly LagSeries[], nowMs: number): Map<string, string> {
  const lines = sparklinesOf(lag, status.mirrors.length);
  const explained = status.mirrors.filter((mirror) => reasonsOf(mirror).length > 0).length;
  const reasonLetters = explained > manyReasons ? 60 : 240;
  return new Map(
    worstFirst(status).map((mirror) => {
      const id = rowId(mirror.name);
      return [
        id,
        mirrorRow(id, mirror, { lines: lines(mirror.name), reasonLetters, newest: status.generation, nowMs }),
      ];
    }),
  );
}

function mirrorRow(
  id: string,
  mirror: MirrorStatus,
  {
    lines,
    reasonLetters,
    newest,
    nowMs,
  }: { lines: readonly string[]; reasonLetters: number; newest: number; nowMs: number },
): string {
  const { tone, word } = standingOf(mirror, newest);
  const percent = progressPercent(mirror.push_progress ?? null);
  const cells = [
    html(percent === null ? word : `${word} ${percent} %`),
    generationText(mirror.generation, newest),
    mirror.generation === null ? '?' : lagText(mirror.lag_seconds),
    observedCell(mirror),
    when(mirror.last_success_at, nowMs),
    when(mirror.next_attempt_at ?? mirror.next_sync_at, nowMs),
    ...lines,
    html(shortened(reasonsOf(mirror).join('; '), reasonLetters)),
  ];
  return row(id, tone, `${webLink(mirror.url, mirror.name)} <small>${html(mirror.transport)}</small>`, cells);
}

/** Above so many reasons each is cut shorter: when a network is down every mirror has one. */
const manyReasons = 40;

/**
 * `name` and `cells` are HTML; the second column is marked by the tone. End tags are left out where HTML closes cells by itself, as
 * there are thousands of them.
 */
export function row(id: string, tone: Tone, name: string, cells: readonly string[]): string {
  return `<tr id="${id}" class="${tone}"><th scope="row">${name}${cells.map((cell) => `<td>${cell}`).join('')}</tr>`;
}

export function generationText(generation: number | null, newest: number): string {
  if (generation === null) return '?';
  return generation >= newest ? String(generation) : `${generation} <small>${newest - generation} behind</small>`;
}

/** As HTML. */
export function lagText(seconds: number): string {
  return seconds === 0 ? '0' : html(calmSpan(seconds));
}

function observedCell(mirror: MirrorStatus): string {
  if (mirror.observed_unknown_content) return '<strong>unknown content</strong>';
  if (mirror.observed_at === null) return `<small>${mirror.url === null ? 'no url' : 'not looked at'}</small>`;
  const { observed_generation: seen, observed_lag_seconds: lag } = mirror;
  if (seen === null || lag === null) return '?';
  return `${lagText(lag)}${seen === mirror.generation ? '' : ` <small>serves ${seen}</small>`}`;
}

/** Above so many mirrors lines have fewer steps (hours and days), or the page would be heavy. */
const manyMirrors = 100;
const stepWidth = 2;

/**
 * The cells of a day and of a week by the name of a mirror: the line, and the largest of its lags as text. `mirrors`: how many
 * there are on the page.
 */
export function sparklinesOf(lag: readonly LagSeries[], mirrors: number): (name: string) => [string, string] {
  const series = new Map(lag.map((one) => [one.mirror, one]));
  const many = mirrors > manyMirrors;
  return (name) => {
    const { day = [], week = [] } = series.get(name) ?? {};
    return [sparkline(day, many ? 6 : 3), sparkline(week, many ? 12 : 3)];
  };
}

/** `pieces` of the series make one step. The style sheet knows the size: 64 by 15. */
function sparkline(lags: readonly (number | null)[], pieces: number): string {
  const worst = worstLag(lags);
  if (worst === null) return '<small>not known</small>';
  const path = sparklinePath(lags, pieces, (stepWidth * pieces) / 3);
  return `<svg aria-hidden="true"><path d="${path}"/></svg> ${worst === 0 ? '0' : html(briefSpan(worst))}`;
}
