/** Writes the table of mirrors for `lockstepd status`; for a terminal with the problems first and within its width. Asks nobody. */
import { escapeText } from '../system/log.ts';
import { progressPercent } from './progress.ts';
import { isInStep, type MirrorStatus, type Status } from './status.ts';
import { cut, type Paint, pad, paint, widthOf } from './terminal.ts';
import { isSilent, silentText } from './unanswered.ts';
import { overdueText, skewText, spanText, turnText, whenText } from './words.ts';

export interface TableOptions {
  /** True: in colours. */
  readonly terminal: boolean;
  /** The width to keep within; absent: whatever it takes, in the order of the configuration. */
  readonly columns?: number | undefined;
  readonly nowMs: number;
}

interface Column {
  readonly title: string;
  readonly of: (mirror: MirrorStatus, nowMs: number) => string;
  /** Where there is no room, the columns with the highest number go first; 0: never. */
  readonly dispensable: number;
}

const columns: readonly Column[] = [
  { title: 'MIRROR', of: ({ name }) => escapeText(name), dispensable: 0 },
  { title: 'STATE', of: stateText, dispensable: 0 },
  { title: 'PUSHED', of: ({ generation }) => (generation === null ? '?' : String(generation)), dispensable: 1 },
  { title: 'LAG', of: ({ lag_seconds: lag }) => spanText(lag), dispensable: 0 },
  {
    title: 'OBSERVED',
    of: ({ observed_generation: seen }) => (seen === null ? '-' : String(seen)),
    dispensable: 4,
  },
  { title: 'LAG', of: ({ observed_lag_seconds: lag }) => (lag === null ? '-' : spanText(lag)), dispensable: 2 },
  { title: 'LAST SUCCESS', of: ({ last_success_at: at }, nowMs) => whenText(at, nowMs), dispensable: 3 },
  {
    title: 'NEXT ATTEMPT',
    of: ({ next_attempt_at: attempt, next_sync_at: sync }, nowMs) => whenText(attempt ?? sync, nowMs),
    dispensable: 5,
  },
];

const leastNameWidth = 8;
const gap = 2;

/** The table, or nothing when there is no mirror. */
export function renderMirrorTable(status: Status, options: TableOptions): string {
  if (status.mirrors.length === 0) return '';
  const ordered = options.columns === undefined ? status.mirrors : problemsFirst(status);
  const { columns: width = Number.POSITIVE_INFINITY } = options;
  const reasons = ordered.map(reasonText);
  const all = measured(columns, ordered, options.nowMs);
  const besides = Math.max(6, ...reasons.map(widthOf));
  const fits = widthOfTable(all) + gap + besides <= width;
  const shown = fits ? all : withinWidth(all, width);
  const rows = ordered.flatMap((mirror, i) => {
    const cells = shown.map(({ cells: texts, width: most }) => pad(cut(texts[i] ?? '', most), most));
    const reason = reasons[i] ?? '-';
    const lines = fits
      ? [[...cells, reason].join(' '.repeat(gap)).trimEnd()]
      : [cells.join(' '.repeat(gap)).trimEnd(), ...(reason === '-' ? [] : [cut(`  ${reason}`, width)])];
    return options.terminal ? lines.map((line) => paint(line, paintOf(mirror, status.generation))) : lines;
  });
  const titles = shown.map(({ title, width: most }) => pad(cut(title, most), most));
  const head = [...titles, ...(fits ? ['REASON'] : [])].join(' '.repeat(gap)).trimEnd();
  return `${[head, ...rows].join('\n')}\n`;
}

interface Measured extends Column {
  readonly cells: readonly string[];
  readonly width: number;
}

function measured(list: readonly Column[], mirrors: readonly MirrorStatus[], nowMs: number): Measured[] {
  return list.map((column) => {
    const cells = mirrors.map((mirror) => column.of(mirror, nowMs));
    return { ...column, cells, width: Math.max(...[column.title, ...cells].map(widthOf)) };
  });
}

function widthOfTable(list: readonly Measured[]): number {
  return list.reduce((sum, { width }) => sum + width + gap, -gap);
}

/** Without the columns that can be spared, then with shorter names. */
function withinWidth(list: readonly Measured[], width: number): Measured[] {
  let kept = [...list];
  while (widthOfTable(kept) > width) {
    const least = kept.reduce((a, b) => (b.dispensable > a.dispensable ? b : a));
    if (least.dispensable === 0) break;
    kept = kept.filter((column) => column !== least);
  }
  const over = Math.max(0, widthOfTable(kept) - width);
  return kept.map((column, i) =>
    i === 0 ? { ...column, width: Math.max(leastNameWidth, column.width - over) } : column,
  );
}

/** Blocked mirrors, then those behind by their lag, then the others as they are configured. */
function problemsFirst({ mirrors, generation }: Status): MirrorStatus[] {
  const rank = (mirror: MirrorStatus): number => ['bad', 'warn', 'good'].indexOf(paintOf(mirror, generation));
  const lag = (m: MirrorStatus): number => Math.max(m.lag_seconds, m.observed_lag_seconds ?? 0);
  return mirrors.toSorted((a, b) => rank(a) - rank(b) || (rank(a) < 2 ? lag(b) - lag(a) : 0));
}

function stateText(mirror: MirrorStatus): string {
  const percent = progressPercent(mirror.push_progress ?? null);
  return percent === null ? mirror.state : `${mirror.state} ${percent} %`;
}

function reasonText(mirror: MirrorStatus): string {
  const unknown = mirror.observed_unknown_content ? 'serves an index that was never published' : null;
  const reasons = [
    unknown,
    silentText(mirror),
    skewText(mirror.clock_skew_seconds),
    overdueText(mirror),
    turnText(mirror),
    mirror.last_error,
  ].filter((text) => text !== null);
  return reasons.length === 0 ? '-' : escapeText(reasons.join('; '));
}

function paintOf(mirror: MirrorStatus, newest: number): Paint {
  if (mirror.state === 'blocked' || mirror.observed_unknown_content) return 'bad';
  return isInStep(mirror, newest) && !isSilent(mirror) ? 'good' : 'warn';
}
