/** Writes the parts of the public status page, from what anybody may know and nothing else. */
import type { LagSeries } from './lag-history.ts';
import { calmSpan, type Column, html, table, type Tone, webLink, when } from './page-html.ts';
import { headlineOf, headSection } from './page-head.ts';
import { generationText, lagText, row, rowId, sparklinesOf } from './page-mirrors.ts';
import { type PublicGeneration, type PublicMirror, type PublicStatus } from './public-status.ts';
import { calmSeconds } from './standing.ts';
import { countText } from './words.ts';

const columns: readonly Column[] = [
  { title: 'Mirror' },
  { title: 'State' },
  { title: 'Generation', number: true },
  { title: 'Lag', number: true },
  { title: 'Last success', number: true },
  { title: 'Last check', number: true },
  { title: 'Worst lag, 24 h' },
  { title: 'Worst lag, 7 d' },
];

const note =
  'Lag is how long users of a mirror lack something that is published. The lines are logarithmic, their top is one day.';

const standings = {
  behind: { tone: 'warn', word: 'behind' },
  updating: { tone: 'busy', word: 'updating' },
  unknown: { tone: 'idle', word: 'unknown' },
  'in-step': { tone: 'good', word: 'in step' },
} as const satisfies Record<string, { readonly tone: Tone; readonly word: string }>;
type StandingName = keyof typeof standings;
/** The worst first. */
const order = ['behind', 'updating', 'unknown', 'in-step'] as const satisfies readonly StandingName[];

/** What has been out for so short a time is on its way. */
function standingNameOf({ state, lag_seconds: lag }: PublicMirror): StandingName {
  return state === 'behind' && lag !== null && lag <= calmSeconds ? 'updating' : state;
}

/** In minutes, so that mirrors do not change places all the time. */
function behindBy({ state, lag_seconds: lag }: PublicMirror): number {
  return state === 'behind' ? Math.floor((lag ?? 0) / 60) : 0;
}

export interface PublicParts {
  readonly tone: Tone;
  readonly line: string;
  readonly columns: readonly Column[];
  readonly note: string;
  readonly head: string;
  readonly generations: string;
  readonly rows: ReadonlyMap<string, string>;
}

/** `lag` may have mirrors that are not public; their lines are nowhere. */
export function publicParts(status: PublicStatus, lag: readonly LagSeries[], nowMs: number): PublicParts {
  const counts = order.flatMap((state) => {
    const count = status.mirrors.filter((mirror) => standingNameOf(mirror) === state).length;
    return count === 0 ? [] : [{ ...standings[state], count }];
  });
  const headline = headlineOf(status.generation, status.mirrors.length, counts);
  const lines = sparklinesOf(lag, status.mirrors.length);
  const mirrors = order.flatMap((state) =>
    status.mirrors.filter((mirror) => standingNameOf(mirror) === state).toSorted((a, b) => behindBy(b) - behindBy(a)),
  );
  return {
    tone: headline.tone,
    line: headline.line,
    columns,
    note,
    head: headSection(headline, status, nowMs, ''),
    generations: generationsPart(status.generations, nowMs),
    rows: new Map(
      mirrors.map((mirror) => {
        const id = rowId(mirror.name);
        return [id, mirrorRow(id, mirror, { lines: lines(mirror.name), newest: status.generation, nowMs })];
      }),
    ),
  };
}

function mirrorRow(
  id: string,
  mirror: PublicMirror,
  { lines, newest, nowMs }: { lines: readonly string[]; newest: number; nowMs: number },
): string {
  const { tone, word } = standings[standingNameOf(mirror)];
  return row(id, tone, webLink(mirror.url, mirror.name), [
    html(word),
    generationText(mirror.generation, newest),
    mirror.lag_seconds === null || mirror.state === 'unknown' ? '?' : lagText(mirror.lag_seconds),
    when(mirror.last_success_at, nowMs),
    when(mirror.checked_at, nowMs),
    ...lines,
  ]);
}

function generationsPart(generations: readonly PublicGeneration[], nowMs: number): string {
  if (generations.length === 0) {
    return '<section id="generations"><h2>Last generations</h2>\n<p class="calm">Nothing published yet.</p></section>';
  }
  const rows = generations.map((one) =>
    row(`g-${one.generation}`, one.reached === one.mirrors ? 'good' : 'busy', String(one.generation), [
      when(one.published_at, nowMs),
      `+${one.added} −${one.removed}`,
      one.mirrors === 0 ? 'none takes it' : `${one.reached} of ${countText(one.mirrors, 'mirror')}`,
      spanOf(one.half_seconds),
      spanOf(one.most_seconds),
      spanOf(one.last_seconds),
    ]),
  );
  const titles = ['Generation', 'Published', 'Packages', 'On', 'Half in', '90 % in', 'Last in'];
  const head = titles.map((title, i): Column => (i === 0 ? { title } : { title, number: true }));
  return `<section id="generations">${table({ id: 'generation', title: 'Last generations', columns: head }, rows.join('\n'))}</section>`;
}

function spanOf(seconds: number | null): string {
  return seconds === null ? '' : html(calmSpan(seconds));
}
