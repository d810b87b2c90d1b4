/** The small pieces of HTML that all parts of the status page are made of. Escapes whatever comes from outside; decides nothing. */
import { escapeText } from '../system/log.ts';
import type { StandingTone } from './standing.ts';
import { spanText, type WhenText } from './words.ts';

/** How something stands. */
export type Tone = StandingTone;

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Text from outside as HTML, in an element or between quotes: control and direction characters are spelled out as well. */
export function html(text: string): string {
  return escapeText(text).replace(/[&<>"']/g, (c) => entities[c] ?? c);
}

/** A span of seconds without the seconds, so that what has not changed does not flicker: `<1 min`, `3 min`, `2 h 5 min`, `1 d 4 h`. */
export function calmSpan(seconds: number): string {
  return seconds < 60 ? '<1 min' : spanText(Math.floor(seconds / 60) * 60);
}

/** A span in its largest unit: `<1 min`, `3 min`, `2 h`, `1 d`. */
export function briefSpan(seconds: number): string {
  return calmSpan(seconds).split(' ').slice(0, 2).join(' ');
}

/** How long ago, or in how long, in one unit; the script shows the instant itself when it is pointed at. Empty for none. */
export function when(instant: string | null, nowMs: number): string {
  return instant === null ? '' : `<time datetime="${html(instant)}">${html(calmWhen(nowMs)(instant))}</time>`;
}

/** The same as plain text, for sentences. */
export function calmWhen(nowMs: number): WhenText {
  return (instant) => {
    if (instant === null) return '-';
    const seconds = (nowMs - Date.parse(instant)) / 1000;
    const span = briefSpan(Math.abs(seconds));
    return seconds < -1 ? `in ${span}` : `${span} ago`;
  };
}

/** The instant itself: `2026-11-22 18:10:00 UTC`. */
export function instantText(instant: string): string {
  return `${instant.slice(0, 19).replace('T', ' ')} UTC`;
}

/** A link, or `text` alone: it may only lead to a web page, whatever the configuration says. */
export function webLink(url: string | null, text: string): string {
  if (url === null || !/^https?:\/\//i.test(url)) return html(text);
  return `<a href="${html(url)}">${html(text)}</a>`;
}

/** The first `count` of `items`, and how many more there are. */
export function firstOf<T>(
  items: readonly T[],
  count: number,
): { readonly shown: readonly T[]; readonly more: number } {
  // One line that says "1 more" takes as much room as the one it leaves out.
  const few = items.length <= count + 1;
  return { shown: few ? items : items.slice(0, count), more: few ? 0 : items.length - count };
}

/** Whatever somebody wrote, the page stays light: the whole text is in /status.json. */
export function shortened(text: string, most: number): string {
  const letters = Array.from(text);
  return letters.length <= most ? text : `${letters.slice(0, most).join('')}…`;
}

/** `a, b, c`, or `a, b and 3 more`; escaped. */
export function someOf(names: readonly string[], count: number): string {
  const { shown, more } = firstOf(names, count);
  return `${shown.map(html).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

export interface Column {
  readonly title: string;
  /** Of numbers and times: aligned to the right on a wide screen. */
  readonly number?: true;
}

/** A table with its caption as a heading; `body` is the rows. `id` is that of its body, `kind` its class, `note` a line below the heading. */
export function table(
  {
    id,
    kind = id,
    title,
    note = '',
    columns,
  }: { id: string; kind?: string; title: string; note?: string; columns: readonly Column[] },
  body: string,
): string {
  const head = columns.map(
    (column) => `<th scope="col"${column.number === true ? ' class="n"' : ''}>${column.title}</th>`,
  );
  return `<table class="${kind}"><caption><h2>${title}</h2>${note === '' ? '' : `<p>${note}</p>`}</caption>
<thead><tr>${head.join('')}</tr></thead>
<tbody id="${id}">${body}</tbody></table>`;
}
