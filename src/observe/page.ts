/** Writes the status page: one HTML document without scripts, made from the status alone. Everything that comes from outside is escaped. */
import { createHash } from 'node:crypto';
import { escapeText } from '../system/log.ts';
import { renderAnnouncementsBlock } from './announcements-text.ts';
import { renderConfigBlock } from './config-text.ts';
import { renderHooksBlock } from './hooks-text.ts';
import { keyProblemText } from './keys-text.ts';
import { pageStyle } from './page-style.ts';
import { type BatchStatus, isInStep, type MirrorStatus, type RepositoryStatus, type Status } from './status.ts';
import { renderScrubBlock } from './scrub-text.ts';
import { renderSwitchBlock } from './switch-text.ts';
import { upstreamText } from './upstreams-text.ts';
import { countText, overdueText, skewText, spanText, turnText, whenText } from './words.ts';

const reasonsShown = 5;
const batchesShown = 20;
const keyProblemsShown = 10;
type Tone = 'good' | 'warn' | 'bad' | 'idle';

/** The Content-Security-Policy under which the page works: its own style sheet and nothing else. */
export const pagePolicy = [
  "default-src 'none'",
  `style-src 'sha256-${createHash('sha256').update(pageStyle).digest('base64')}'`,
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

/** The page for `status`, seen at `nowMs`; it reloads itself every 10 s. */
export function renderPage(status: Status, nowMs: number): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="refresh" content="10">
<title>${status.generation === 0 ? 'lockstepd' : `${stepCount(status)} in step - lockstepd`}</title>
<style>${pageStyle}</style>
</head>
<body>
<main>
${header(status, nowMs)}${stateNote(status)}${upstreamNotes(status, nowMs)}${otherNotes(status, nowMs)}
${mirrorSection(status, nowMs)}
${batchSection(status, nowMs)}
${repositorySection(status)}
</main>
<footer>As of ${when(new Date(nowMs).toISOString(), null)}. The same as data: <a href="/status.json">/status.json</a>, <a href="/metrics">/metrics</a>.</footer>
</body>
</html>
`;
}

function stepCount(status: Status): string {
  const inStep = status.mirrors.filter((mirror) => isInStep(mirror, status.generation)).length;
  return `${inStep} of ${countText(status.mirrors.length, 'mirror')}`;
}

function header(status: Status, nowMs: number): string {
  if (status.generation === 0) {
    return `<header class="idle"><h1>Nothing published yet</h1><p>${countText(status.mirrors.length, 'mirror')} configured.</p></header>`;
  }
  const worst = status.mirrors.map((mirror) => toneOf(mirror, status.generation));
  const tone = (['bad', 'warn', 'idle', 'good'] as const).find((t) => worst.includes(t)) ?? 'idle';
  return `<header class="${tone}"><h1>${stepCount(status)} in step, generation ${status.generation}</h1>
<p>Published ${when(status.published_at, nowMs)}.</p></header>`;
}

/** Nothing else on the page would show why nothing is published. */
function stateNote({ state_problem: problem }: Status): string {
  return problem === null
    ? ''
    : `\n<p><strong>state.db cannot be written, nothing is published: ${html(problem)}</strong></p>`;
}

/** From whom this host gets its generations, where that is another lockstepd. */
function upstreamNotes({ upstreams }: Status, nowMs: number): string {
  return upstreams.map((upstream) => `\n<p>Upstream ${html(upstreamText(upstream, nowMs))}.</p>`).join('');
}

/** What else an operator must know at any time, in the words of the terminal; brokers only while they lack something. */
function otherNotes(
  { switch: together, announcements, config, hooks, key_problems: problems, scrub }: Status,
  nowMs: number,
): string {
  const behind = announcements.filter(({ state }) => state !== 'in-sync');
  const blocks = [
    renderConfigBlock(config, nowMs),
    renderSwitchBlock(together),
    renderAnnouncementsBlock(behind, nowMs),
    renderHooksBlock(hooks),
    renderScrubBlock(scrub),
  ];
  const lines = [
    ...blocks.flatMap((block) => block.split('\n')).filter((line) => line !== ''),
    ...problems.slice(0, keyProblemsShown).map(keyProblemText),
  ];
  return lines.map((line) => `\n<p>${html(line)}</p>`).join('');
}

function toneOf(mirror: MirrorStatus, newest: number): Tone {
  if (mirror.state === 'blocked' || mirror.observed_unknown_content) return 'bad';
  if (mirror.state === 'unknown' && mirror.generation === null && mirror.last_error === null) return 'idle';
  return isInStep(mirror, newest) ? 'good' : 'warn';
}

function mirrorSection(status: Status, nowMs: number): string {
  if (status.mirrors.length === 0) return '<section><h2>Mirrors</h2><p>None is configured.</p></section>';
  const columns = ['Mirror', 'State', 'Pushed', 'Observed', 'Last success', 'Next attempt', 'Reason'];
  const rows = status.mirrors.map((mirror) => {
    const tone = toneOf(mirror, status.generation);
    return row(columns, tone, [
      `${mirrorName(mirror)} <small>${html(mirror.transport)}</small>`,
      `<span class="pill">${html(mirror.state)}</span>`,
      reached(mirror.generation, mirror.lag_seconds, status.generation),
      observedCell(mirror, status.generation),
      when(mirror.last_success_at, nowMs),
      when(mirror.next_attempt_at ?? mirror.next_sync_at, nowMs),
      html(reasonsOf(mirror).join('; ')),
    ]);
  });
  return table('Mirrors', columns, rows);
}

function reasonsOf(mirror: MirrorStatus): string[] {
  const texts = [skewText(mirror.clock_skew_seconds), overdueText(mirror), turnText(mirror), mirror.last_error];
  return texts.filter((text) => text !== null);
}

function mirrorName(mirror: MirrorStatus): string {
  const name = html(mirror.name);
  // A link may only lead to a web page, whatever the configuration says.
  if (mirror.url === null || !/^https?:\/\//i.test(mirror.url)) return `<b>${name}</b>`;
  return `<a href="${html(mirror.url)}" rel="noreferrer"><b>${name}</b></a>`;
}

function observedCell(mirror: MirrorStatus, newest: number): string {
  if (mirror.observed_unknown_content) return '<strong>an index that was never published here</strong>';
  if (mirror.observed_at === null) return '';
  return reached(mirror.observed_generation, mirror.observed_lag_seconds, newest);
}

function reached(generation: number | null, lagSeconds: number | null, newest: number): string {
  if (generation === null) return '?';
  if (generation >= newest || lagSeconds === null) return String(generation);
  return `${generation} <small>${newest - generation} behind for ${spanText(lagSeconds)}</small>`;
}

function batchSection(status: Status, nowMs: number): string {
  if (status.batches.length === 0) return '';
  const columns = ['Batch', 'Builder', 'State', 'Changed', 'Reasons'];
  const rows = status.batches
    .slice(0, batchesShown)
    .map((batch) =>
      row(columns, batchTones[batch.state], [
        `<code>${html(batch.id)}</code>`,
        html(batch.builder),
        `<span class="pill">${html(batch.state)}</span>${batch.generation === null ? '' : ` <small>generation ${batch.generation}</small>`}`,
        when(batch.updated_at, nowMs),
        reasonList(batch),
      ]),
    );
  return table('Recent batches', columns, rows);
}

const batchTones: Readonly<Record<BatchStatus['state'], Tone>> = {
  published: 'good',
  waiting: 'idle',
  held: 'warn',
  rejected: 'bad',
};

function reasonList(batch: BatchStatus): string {
  if (batch.reasons.length === 0) return '';
  const items = batch.reasons
    .slice(0, reasonsShown)
    .map((r) => `<li><b>${html(r.code)}</b> <code>${html(r.path)}</code> ${html(r.detail)}</li>`);
  const more = batch.reasons.length - reasonsShown;
  return `<ul>${items.join('')}${more > 0 ? `<li>… and ${more} more</li>` : ''}</ul>`;
}

function repositorySection(status: Status): string {
  if (status.repositories.length === 0) return '';
  const columns = ['Repository', 'Changed in', 'Packages', 'Index', 'Key'];
  const cells = (r: RepositoryStatus): string[] => [
    html(`${r.path}/${r.index}`),
    `generation ${r.generation}`,
    String(r.packages),
    `<code title="SHA-256 ${html(r.index_sha256)}">${html(r.index_sha256.slice(0, 12))}</code>`,
    r.key_state === 'valid'
      ? html(r.signed_by)
      : `${html(r.signed_by)} <strong>not trusted any more: ${html(r.key_state)}</strong>`,
  ];
  return table(
    'Repositories',
    columns,
    status.repositories.map((r) => row(columns, r.key_state === 'valid' ? null : 'bad', cells(r))),
  );
}

function table(title: string, columns: readonly string[], rows: readonly string[]): string {
  const head = columns.map((column) => `<th scope="col">${column}</th>`).join('');
  return `<section><h2>${title}</h2><table><thead><tr>${head}</tr></thead><tbody>
${rows.join('\n')}
</tbody></table></section>`;
}

// On a narrow screen a row becomes a card; the style sheet then shows each cell's column from `data-of`.
function row(columns: readonly string[], tone: Tone | null, cells: readonly string[]): string {
  const inner = cells.map((cell, i) => `<td data-of="${columns[i] ?? ''}">${cell}</td>`).join('');
  return `<tr${tone === null ? '' : ` class="${tone}"`}>${inner}</tr>`;
}

/** An instant as a `time` element: relative to `nowMs` with the instant as its title, or the instant itself. */
function when(instant: string | null, nowMs: number | null): string {
  if (instant === null) return '';
  const plain = `${instant.slice(0, 19).replace('T', ' ')} UTC`;
  return nowMs === null
    ? `<time datetime="${html(instant)}">${html(plain)}</time>`
    : `<time datetime="${html(instant)}" title="${html(plain)}">${html(whenText(instant, nowMs))}</time>`;
}

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Text from outside as HTML, in an element or between quotes: control and direction characters are spelled out as well. */
function html(text: string): string {
  return escapeText(text).replace(/[&<>"']/g, (c) => entities[c] ?? c);
}
