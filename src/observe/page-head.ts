/** Writes the head of the status page: in one line whether everything is in step, and below it what needs a person, worst first. */
import { renderAnnouncementsBlock } from './announcements-text.ts';
import { renderConfigBlock } from './config-text.ts';
import { renderHooksBlock } from './hooks-text.ts';
import { keyProblemText } from './keys-text.ts';
import { calmWhen, firstOf, html, shortened, type Tone, when } from './page-html.ts';
import { rowId } from './page-mirrors.ts';
import { renderScrubBlock } from './scrub-text.ts';
import { behindText, countStandings, reasonsOf, standingOf, worstFirst } from './standing.ts';
import type { BatchStatus, Status } from './status.ts';
import { renderSwitchBlock } from './switch-text.ts';
import { upstreamText } from './upstreams-text.ts';
import { countText } from './words.ts';

/** Lines of one kind before "and N more", and letters of a reason. */
const linesShown = 6;
const reasonLetters = 240;

export interface Headline {
  readonly tone: Tone;
  /** Plain text. */
  readonly line: string;
  /** How many mirrors stand in which way, the best first, for the bar. */
  readonly parts: readonly { readonly tone: Tone; readonly count: number }[];
}

/** One line: is everything in step? `counts` as of `countStandings`, the worst first. */
export function headlineOf(
  generation: number,
  mirrors: number,
  counts: readonly { readonly tone: Tone; readonly word: string; readonly count: number }[],
): Headline {
  const parts = counts.toReversed().map(({ tone, count }) => ({ tone, count }));
  if (generation === 0) return { tone: 'idle', line: 'Nothing published yet', parts: [] };
  if (mirrors === 0) return { tone: 'idle', line: 'No mirrors configured', parts };
  const good = counts.filter(({ tone }) => tone === 'good').reduce((sum, { count }) => sum + count, 0);
  const others = counts.filter(({ tone }) => tone !== 'good').map(({ word, count }) => `${count} ${word}`);
  if (others.length === 0) {
    const line = mirrors === 1 ? 'The only mirror is in step' : `All ${mirrors} mirrors in step`;
    return { tone: 'good', line, parts };
  }
  const line = `${good} of ${countText(mirrors, 'mirror')} in step: ${others.join(', ')}`;
  return { tone: counts[0]?.tone ?? 'idle', line, parts };
}

interface Todo {
  readonly tone: 'bad' | 'warn';
  readonly line: string;
}

/** The head for operators, with what needs a look. */
export function operatorHead(
  status: Status,
  nowMs: number,
): { readonly tone: Tone; readonly line: string; readonly section: string } {
  const headline = headlineOf(status.generation, status.mirrors.length, countStandings(status));
  const todos = todosOf(status, nowMs);
  const worst = todos.some(({ tone }) => tone === 'bad') ? 'bad' : todos.length > 0 ? 'warn' : null;
  const tone = worst === 'bad' || (worst !== null && headline.tone !== 'bad') ? worst : headline.tone;
  const list = todos.map(({ tone: of, line }) => `<li class="${of}">${line}</li>`).join('\n');
  const below =
    todos.length > 0
      ? `<h2>Needs a look</h2>\n<ul class="todo">\n${list}\n</ul>`
      : status.generation > 0
        ? '<p class="calm">Nothing needs a look.</p>'
        : '';
  return { tone, line: headline.line, section: headSection({ ...headline, tone }, status, nowMs, below) };
}

/** `below` is HTML. */
export function headSection(
  { tone, line, parts }: Headline,
  { generation, published_at: published }: { readonly generation: number; readonly published_at: string | null },
  nowMs: number,
  below: string,
): string {
  const told = generation === 0 ? '' : `<p>Generation <b>${generation}</b>, published ${when(published, nowMs)}.</p>\n`;
  return `<header id="head" class="${tone}">
<h1 aria-live="polite" aria-atomic="true">${html(line)}</h1>
${told}${bar(parts)}${below}
<p id="lost" role="status" hidden></p>
</header>`;
}

/** A drawing of what the line above says. */
function bar(parts: Headline['parts']): string {
  const all = parts.reduce((sum, { count }) => sum + count, 0);
  if (all < 2) return '';
  let x = 0;
  const rects = parts.map(({ tone, count }) => {
    const from = x;
    x += (count / all) * 1000;
    return `<rect class="${tone}" x="${Math.round(from)}" width="${Math.max(4, Math.round(x) - Math.round(from) - 3)}" height="8"/>`;
  });
  return `<svg class="bar" viewBox="0 0 1000 8" preserveAspectRatio="none" aria-hidden="true">${rects.join('')}</svg>\n`;
}

function todosOf(status: Status, nowMs: number): Todo[] {
  const problem = status.state_problem;
  const todos: Todo[] = [
    ...(problem === null
      ? []
      : [{ tone: 'bad' as const, line: `state.db cannot be written, nothing is published: ${html(problem)}` }]),
    ...mirrorTodos(status, 'bad'),
    ...limited(
      'bad',
      status.repositories
        .filter((r) => r.key_state !== 'valid')
        .map(
          (r) =>
            `${html(r.path)} hangs on the key ${html(r.signed_by)}, which is not trusted any more (${html(r.key_state)})`,
        ),
    ),
    ...limited('bad', linesOf(renderScrubBlock({ ...status.scrub, running: false }))),
    ...limited('warn', status.batches.filter(({ state }) => state === 'held').map(heldLine)),
    ...mirrorTodos(status, 'warn'),
    ...limited('warn', linesOf(renderConfigBlock(status.config, calmWhen(nowMs)))),
    ...limited('warn', status.key_problems.map(keyProblemText).map(html)),
    ...limited('warn', linesOf(renderHooksBlock(status.hooks))),
    ...limited(
      'warn',
      linesOf(
        renderAnnouncementsBlock(
          status.announcements.filter(({ state }) => state !== 'in-sync'),
          calmWhen(nowMs),
        ),
      ),
    ),
  ];
  return todos.toSorted((a, b) => Number(a.tone === 'warn') - Number(b.tone === 'warn'));
}

function mirrorTodos(status: Status, tone: 'bad' | 'warn'): Todo[] {
  const found = worstFirst(status).map((mirror) => ({ mirror, standing: standingOf(mirror, status.generation) }));
  return limited(
    tone,
    found
      .filter(({ standing }) => standing.tone === tone)
      .map(({ mirror, standing }) => {
        const reasons = [behindText(mirror), ...reasonsOf(mirror)].filter((text) => text !== '');
        const why = shortened(reasons.join('; '), reasonLetters);
        // "behind for 2 h" says that it is behind.
        const text = why === '' || why.startsWith(standing.word) ? why || standing.word : `${standing.word}: ${why}`;
        return `<a href="#${rowId(mirror.name)}">${html(mirror.name)}</a> ${html(text)}`;
      }),
    'mirrors',
  );
}

function heldLine(batch: BatchStatus): string {
  const codes = [...new Set(batch.reasons.map(({ code }) => code))];
  const why = codes.length === 0 ? '' : ` (${html(codes.join(', '))})`;
  return `<a href="#batches">a batch</a> of ${html(batch.builder)} is held${why}: <code>lockstepd preview ${html(batch.id)}</code>`;
}

function limited(tone: Todo['tone'], lines: readonly string[], noun = 'lines'): Todo[] {
  const { shown, more } = firstOf(lines, linesShown);
  return [...shown, ...(more > 0 ? [`and ${more} more ${noun} like these`] : [])].map((line) => ({ tone, line }));
}

function linesOf(block: string): string[] {
  return block
    .split('\n')
    .filter((line) => line !== '')
    .map(html);
}

/** What goes on besides: upstreams, mirrors that wait for each other, a scrub that runs. Empty when there is nothing. */
export function notesSection(status: Status, nowMs: number): string {
  const running = status.scrub.running ? linesOf(renderScrubBlock({ ...status.scrub, damaged: [] })) : [];
  const lines = [
    ...status.upstreams.map((upstream) => `Upstream ${html(upstreamText(upstream, calmWhen(nowMs)))}.`),
    ...linesOf(renderSwitchBlock(status.switch)),
    ...running,
  ];
  return `<div id="notes">${lines.map((line) => `<p>${line}</p>`).join('')}</div>`;
}
