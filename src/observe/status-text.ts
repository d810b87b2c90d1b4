/** Writes the status as text for `lockstepd status`: a headline, a table of mirrors, the batches that wait for something. Asks nobody. */
import { escapeText } from '../system/log.ts';
import { renderAnnouncementsBlock } from './announcements-text.ts';
import { renderConfigBlock } from './config-text.ts';
import { renderHooksBlock } from './hooks-text.ts';
import { keyProblemText } from './keys-text.ts';
import { renderMirrorTable } from './mirror-table.ts';
import { renderScrubBlock } from './scrub-text.ts';
import { renderSwitchBlock } from './switch-text.ts';
import { type BatchStatus, isInStep, type Status } from './status.ts';
import { paint } from './terminal.ts';
import { renderUpstreamsBlock } from './upstreams-text.ts';
import { countText, type WhenText, whenText } from './words.ts';

export interface StatusTextOptions {
  /** True: colours for a terminal. */
  readonly terminal: boolean;
  /** The width of the terminal: the table keeps within it, problems first. Absent: there is none. */
  readonly columns?: number | undefined;
  readonly nowMs: number;
}

const reasonsShown = 5;
const batchesShown = 10;

/** The status as lines of text that end with a newline. Every name, path and message is escaped for terminals. */
export function renderStatusText(status: Status, options: StatusTextOptions): string {
  const when: WhenText = (instant) => whenText(instant, options.nowMs);
  const blocks = [
    headline(status, options),
    renderMirrorTable(status, options),
    stateBlock(status, options),
    renderConfigBlock(status.config, when),
    renderUpstreamsBlock(status.upstreams, when),
    renderSwitchBlock(status.switch),
    renderAnnouncementsBlock(status.announcements, when),
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
