/** Writes the status as text for `lockstepd status`: a headline, a table of mirrors, the batches that wait for something. Asks nobody. */
import { escapeText } from '../system/log.ts';
import { renderAnnouncementsBlock } from './announcements-text.ts';
import { renderConfigBlock } from './config-text.ts';
import { renderHooksBlock } from './hooks-text.ts';
import { keyProblemText } from './keys-text.ts';
import { renderScrubBlock } from './scrub-text.ts';
import { renderSwitchBlock } from './switch-text.ts';
import { type BatchStatus, isInStep, type MirrorStatus, type Status } from './status.ts';
import { renderUpstreamsBlock } from './upstreams-text.ts';
import { countText, overdueText, skewText, spanText, turnText, whenText } from './words.ts';

export interface StatusTextOptions {
  /** True: colours for a terminal. */
  readonly terminal: boolean;
  readonly nowMs: number;
}

const reasonsShown = 5;
const batchesShown = 10;
type Paint = 'good' | 'warn' | 'bad' | 'dim';
const escapes: Readonly<Record<Paint, string>> = {
  good: '\x1b[32m',
  warn: '\x1b[33m',
  bad: '\x1b[31m',
  dim: '\x1b[2m',
};

/** The status as lines of text that end with a newline. Every name, path and message is escaped for terminals. */
export function renderStatusText(status: Status, options: StatusTextOptions): string {
  const blocks = [
    headline(status, options),
    mirrorTable(status, options),
    stateBlock(status, options),
    renderConfigBlock(status.config, options.nowMs),
    renderUpstreamsBlock(status.upstreams, options.nowMs),
    renderSwitchBlock(status.switch),
    renderAnnouncementsBlock(status.announcements, options.nowMs),
    renderHooksBlock(status.hooks),
    keyBlock(status, options),
    renderScrubBlock(status.scrub),
    ...batchBlocks(status, options),
  ];
  return blocks.filter((block) => block !== '').join('\n');
}

function headline(status: Status, { nowMs }: StatusTextOptions): string {
  if (status.generation === 0) return `nothing published yet; ${countText(status.mirrors.length, 'mirror')}\n`;
  const inStep = status.mirrors.filter((m) => isInStep(m, status.generation)).length;
  const published = status.published_at === null ? '' : `, published ${whenText(status.published_at, nowMs)}`;
  return `${inStep} of ${countText(status.mirrors.length, 'mirror')} in step, generation ${status.generation}${published}\n`;
}

const columns = ['MIRROR', 'STATE', 'PUSHED', 'LAG', 'OBSERVED', 'LAG', 'LAST SUCCESS', 'NEXT ATTEMPT', 'REASON'];

function mirrorTable(status: Status, options: StatusTextOptions): string {
  if (status.mirrors.length === 0) return '';
  const rows = status.mirrors.map((mirror) => mirrorRow(mirror, options.nowMs));
  const widths = columns.map((title, i) => Math.max(...[title, ...rows.map((row) => row[i] ?? '')].map(widthOf)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((c, i) => pad(c, widths[i] ?? 0))
      .join('  ')
      .trimEnd();
  const lines = rows.map((row, i) => {
    const mirror = status.mirrors[i];
    return options.terminal && mirror ? paint(line(row), paintOf(mirror, status.generation)) : line(row);
  });
  return `${[line(columns), ...lines].join('\n')}\n`;
}

function mirrorRow(mirror: MirrorStatus, nowMs: number): string[] {
  const unknown = mirror.observed_unknown_content ? 'serves an index that was never published' : null;
  const reasons = [
    unknown,
    skewText(mirror.clock_skew_seconds),
    overdueText(mirror),
    turnText(mirror),
    mirror.last_error,
  ].filter((text) => text !== null);
  return [
    escapeText(mirror.name),
    mirror.state,
    mirror.generation === null ? '?' : String(mirror.generation),
    spanText(mirror.lag_seconds),
    mirror.observed_generation === null ? '-' : String(mirror.observed_generation),
    mirror.observed_lag_seconds === null ? '-' : spanText(mirror.observed_lag_seconds),
    whenText(mirror.last_success_at, nowMs),
    whenText(mirror.next_attempt_at ?? mirror.next_sync_at, nowMs),
    reasons.length === 0 ? '-' : escapeText(reasons.join('; ')),
  ];
}

function paintOf(mirror: MirrorStatus, newest: number): Paint {
  if (mirror.state === 'blocked' || mirror.observed_unknown_content) return 'bad';
  return isInStep(mirror, newest) ? 'good' : 'warn';
}

/** Nothing is published or pushed while this lasts. */
function stateBlock({ state_problem: problem }: Status, { terminal }: StatusTextOptions): string {
  if (problem === null) return '';
  const line = `state.db cannot be written, nothing is published: ${escapeText(problem)}: make room on its disk`;
  return `${terminal ? paint(line, 'bad') : line}\n`;
}

const keyLinesShown = 10;

/** What hangs on a key that is not trusted any more, and the key files that cannot be used. */
function keyBlock({ repositories, key_problems: problems }: Status, { terminal }: StatusTextOptions): string {
  const lines = [
    ...repositories
      .filter((r) => r.key_state !== 'valid')
      .map((r) => `${escapeText(r.path)} hangs on the key ${escapeText(r.signed_by)} (${r.key_state})`),
    ...problems.map(keyProblemText),
  ];
  const more =
    lines.length > keyLinesShown ? [`… and ${lines.length - keyLinesShown} more: see lockstepd keys list`] : [];
  const shown = lines.slice(0, keyLinesShown).map((line) => (terminal ? paint(line, 'bad') : line));
  return [...shown, ...more].map((line) => `${line}\n`).join('');
}

function batchBlocks(status: Status, options: StatusTextOptions): string[] {
  const open = status.batches.filter((batch) => batch.state !== 'published');
  const blocks = open.slice(0, batchesShown).map((batch) => batchBlock(batch, options));
  return open.length > batchesShown ? [...blocks, `… and ${open.length - batchesShown} more batches\n`] : blocks;
}

function batchBlock(batch: BatchStatus, { terminal, nowMs }: StatusTextOptions): string {
  const title = `batch ${escapeText(batch.id)} of ${escapeText(batch.builder)}: ${batch.state}, ${whenText(batch.updated_at, nowMs)}`;
  const reasons = batch.reasons
    .slice(0, reasonsShown)
    .map((r) => `  ${escapeText(r.code)} ${escapeText(r.path)}: ${escapeText(r.detail)}`);
  const more = batch.reasons.length > reasonsShown ? [`  … and ${batch.reasons.length - reasonsShown} more`] : [];
  const colour = batch.state === 'waiting' ? 'dim' : 'warn';
  return `${[terminal ? paint(title, colour) : title, ...reasons, ...more].join('\n')}\n`;
}

function paint(text: string, colour: Paint): string {
  return `${escapes[colour]}${text}\x1b[0m`;
}

function widthOf(text: string): number {
  return Array.from(text).length;
}

function pad(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - widthOf(text)));
}
