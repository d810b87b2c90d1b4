/** Writes the last generations of the status page, each as a waterfall: uploaded, verified, published, on each mirror when. */
import type { PackageChange } from '../apk/changes.ts';
import { html, instantText, shortened, someOf, when } from './page-html.ts';
import type { Propagation } from './propagation.ts';
import { type Spread, type SpreadMirror, secondsUntil, spreadOf } from './spread.ts';
import { countText, spanText } from './words.ts';

/** Up to so many mirrors each has a line in the waterfall of a generation; else the slowest of them. */
const linesForAll = 12;
const slowestShown = 4;
const namesShown = 8;
/** Of the newest generation, and of each older one. */
const changesShown = { newest: 12, older: 5 };
/** With many mirrors only so many generations have a waterfall line by line, or the page would be heavy; all have it in one line. */
const waterfallsOfMany = 3;
const repositoriesShown = 6;
const whyLetters = 240;

/** What the time axis of one waterfall spans, in milliseconds since the epoch. */
interface Axis {
  readonly from: number;
  readonly to: number;
}

/** The section of generations, newest first, the newest of them open. */
export function generationsSection(propagation: readonly Propagation[], nowMs: number): string {
  const items = propagation.map((generation, i) => generationItem(generation, { place: i, nowMs }));
  const none = '<p class="calm">Nothing published yet.</p>';
  return `<section id="generations"><h2>Last generations</h2>
<p class="note">From the end of the upload to each mirror. A bar that takes much longer than the others leaves the drawing; its time is written beside it.</p>
${items.length === 0 ? none : items.join('\n')}</section>`;
}

/** `place`: 0 is the newest. */
function generationItem(generation: Propagation, { place, nowMs }: { place: number; nowMs: number }): string {
  const isNewest = place === 0;
  const spread = spreadOf(generation);
  const axis = axisOf(generation, spread);
  const from = generation.builder === '' ? '' : ` <span class="by">${html(generation.builder)}</span>`;
  return `<details id="g-${generation.generation}"${isNewest ? ' open' : ''}>
<summary><b>${generation.generation}</b> ${when(generation.published_at, nowMs)}${from}
<span class="count">${countsText(generation)}</span>
${strip(generation, spread, axis)}
<span class="reach${isNewest && spread.missing.length > 0 ? ' open' : ''}">${reachText(spread)}</span></summary>
${rollbackLine(generation)}${changesLine(generation, isNewest ? changesShown.newest : changesShown.older)}
${place < waterfallsOfMany || spread.of <= linesForAll ? waterfall(generation, spread, axis) : ''}${missingLine(spread)}</details>`;
}

function waterfall(generation: Propagation, spread: Spread, axis: Axis): string {
  return `<ol class="fall">
${[...phases(generation, axis), ...mirrorLines(generation, spread, axis)].join('\n')}
</ol>`;
}

function countsText({ added, removed }: Propagation): string {
  return added + removed === 0 ? 'no packages' : `+${added} −${removed}`;
}

/** `on 28 of 30: half 12 s, last 3 min`. */
function reachText(spread: Spread): string {
  const { of, reached } = spread;
  if (of === 0) return 'no mirror takes it';
  const last = reached.at(-1);
  if (!last) return `on none of ${countText(of, 'mirror')} yet`;
  const on = of === 1 ? 'on the mirror' : `on ${reached.length === of ? 'all' : `${reached.length} of`} ${of}`;
  const half = of > 4 ? secondsUntil(spread, 0.5) : null;
  const first = half === null ? '' : `half ${tookText(half)}, `;
  return `${on}: ${first}${of === 1 ? 'after' : 'last'} ${tookText(last.seconds)}`;
}

function rollbackLine({ rollback }: Propagation): string {
  if (rollback === null) return '';
  return `<p><strong>Back to generation ${rollback.to}</strong> by ${html(rollback.who)}: ${html(shortened(rollback.why, whyLetters))}</p>\n`;
}

function changesLine({ repositories, changes, changed_names: names, batch }: Propagation, most: number): string {
  const where = repositories.length === 0 ? '' : ` in ${someOf(repositories, repositoriesShown)}`;
  const shown = changes.slice(0, most);
  const more = Math.max(0, names - new Set(shown.map(({ name }) => name)).size);
  const list = shown.map(changeText).join(', ');
  const what = shown.length === 0 ? '' : `: ${list}${more > 0 ? ` and ${more} more` : ''}`;
  return `<p>${countText(names, 'package')} changed${where}${what}. <small>Batch ${html(batch)}</small></p>`;
}

function changeText({ kind, name, from, to }: PackageChange): string {
  const versions =
    kind === 'added'
      ? (to ?? '')
      : kind === 'removed' || kind === 'rebuilt'
        ? (from ?? '')
        : `${from ?? ''} → ${to ?? ''}`;
  const word = kind === 'upgraded' ? '' : ` (${kind})`;
  return `<b>${html(name)}</b> ${html(versions)}${word}`;
}

function axisOf(generation: Propagation, spread: Spread): Axis {
  const published = Date.parse(generation.published_at);
  const from = Math.min(
    published,
    ...[generation.uploaded_at, generation.verified_at].filter((t) => t !== null).map(Date.parse),
  );
  const most = secondsUntil({ ...spread, of: spread.reached.length }, 0.9) ?? 0;
  const last = spread.reached.at(-1)?.seconds ?? 0;
  const ends = published + 1000 * Math.max(generation.publish_seconds ?? 0, Math.min(last, most * 1.5));
  return { from, to: Math.max(ends, from + 1000) };
}

/** Where an instant lies on the axis, 0 to 100. */
function at(axis: Axis, ms: number): number {
  const part = (ms - axis.from) / (axis.to - axis.from);
  return Math.round(1000 * Math.max(0, Math.min(1, part))) / 10;
}

/** All of it in one line: the phases as bars, each mirror as a mark. */
function strip(generation: Propagation, { reached }: Spread, axis: Axis): string {
  const published = Date.parse(generation.published_at);
  const [verifiedX, publishedX] = [
    at(axis, Date.parse(generation.verified_at ?? generation.published_at)),
    at(axis, published),
  ];
  const marks = new Set(reached.map(({ seconds }) => Math.round(at(axis, published + seconds * 1000) / 2) * 2));
  const line = [...marks].map((x) => `M${x} 1v8`).join('');
  return `<svg class="strip" viewBox="0 0 101 10" preserveAspectRatio="none" aria-hidden="true"><path class="u" d="M0 5h${verifiedX}"/><path class="v" d="M${verifiedX} 5H${publishedX}"/><path class="p" d="M${publishedX} 5H100"/><path class="m" d="${line}"/></svg>`;
}

function phases(
  { uploaded_at: uploaded, verified_at: verified, published_at: published, publish_seconds: took }: Propagation,
  axis: Axis,
): string[] {
  const [from, done] = [Date.parse(uploaded ?? published), Date.parse(verified ?? published)];
  const start = Date.parse(published);
  return [
    ...(uploaded === null
      ? []
      : [
          fallLine('Uploaded', bar('u', 0, at(axis, from)), instantText(uploaded)),
          fallLine('Verified', bar('u', at(axis, from), at(axis, done)), `in ${tookText((done - from) / 1000)}`),
        ]),
    fallLine(
      'Published',
      bar('v', at(axis, done), at(axis, start + 1000 * (took ?? 0))),
      uploaded === null
        ? instantText(published)
        : took === null
          ? 'at once'
          : `in ${took < 1 ? `${Math.round(took * 1000)} ms` : tookText(took)}`,
    ),
  ];
}

function mirrorLines(generation: Propagation, spread: Spread, axis: Axis): string[] {
  const published = Date.parse(generation.published_at);
  const from = at(axis, published);
  const until = (seconds: number): number => at(axis, published + seconds * 1000);
  const lineOf = ({ name, seconds, seenSeconds }: SpreadMirror): string => {
    const seen = seenSeconds === null || seenSeconds <= seconds ? null : seenSeconds;
    const seenBar = seen === null ? '' : bar('s', until(seconds), until(seen));
    return fallLine(
      html(name),
      bar('c', from, until(seconds)) + seenBar,
      `${tookText(seconds)}${seen === null ? '' : ` <small>seen after ${tookText(seen)}</small>`}`,
    );
  };
  if (spread.of <= linesForAll) {
    const missing = spread.missing.map((name) => fallLine(html(name), bar('w', from, 100), 'not yet', 'warn'));
    return [...spread.reached.map(lineOf), ...missing];
  }
  const shares = [
    ['Half of the mirrors', 0.5],
    ['90 % of them', 0.9],
    ['99 % of them', 0.99],
  ] as const;
  const all = shares.flatMap(([word, share]) => {
    const seconds = secondsUntil(spread, share);
    return seconds === null ? [] : [fallLine(word, bar('c', from, until(seconds)), tookText(seconds))];
  });
  return [...all, ...spread.reached.slice(-slowestShown).map(lineOf)];
}

function missingLine({ of, missing }: Spread): string {
  if (missing.length === 0 || of <= linesForAll) return '';
  return `\n<p class="warn">Not yet on ${countText(missing.length, 'mirror')}: ${someOf(missing, namesShown)}</p>`;
}

/** `name`, `bars` and `text` are HTML. */
function fallLine(name: string, bars: string, text: string, tone = ''): string {
  return `<li${tone === '' ? '' : ` class="${tone}"`}><span>${name}</span><svg aria-hidden="true">${bars}</svg><span>${text}</span>`;
}

function bar(kind: string, from: number, to: number): string {
  // One that begins where the drawing ends can still be seen.
  const x = Math.min(from, 99.4);
  return `<rect class="${kind}" x="${x}%" width="${Math.max(0.6, Math.round((to - x) * 10) / 10)}%"/>`;
}

/** Instants are whole seconds. */
function tookText(seconds: number): string {
  return seconds < 1 ? '&lt;1 s' : spanText(seconds);
}
