/** Writes the status pages, for operators and for everybody: whole without a script, live with it. Everything from outside is escaped. */
import { createHash } from 'node:crypto';
import { batchesSection, repositoriesSection } from './page-batches.ts';
import { generationsSection } from './page-generations.ts';
import { notesSection, operatorHead } from './page-head.ts';
import { html, instantText, table, type Tone } from './page-html.ts';
import { mirrorColumns, mirrorRows, mirrorsNote } from './page-mirrors.ts';
import type { PageModel } from './page-model.ts';
import { publicParts } from './page-public.ts';
import { pageScript } from './page-script.ts';
import { pageStyle } from './page-style.ts';
import type { RecentHistory } from './propagation.ts';
import { publicStatus } from './public-status.ts';
import type { Status } from './status.ts';

/** Seconds between two loads of a page without a script. */
const reloadSeconds = 30;

const hashOf = (text: string): string => createHash('sha256').update(text).digest('base64');

/** The Content-Security-Policy under which the pages work: their own style sheet, script, icon and events, and nothing else. */
export const pagePolicy = [
  "default-src 'none'",
  `style-src 'sha256-${hashOf(pageStyle)}'`,
  `script-src 'sha256-${hashOf(pageScript)}'`,
  "connect-src 'self'",
  'img-src data:',
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

/** Names the script and the style sheet: a browser that shows a page of another daemon loads it anew. */
export const pageEdition = hashOf(pageScript + pageStyle).slice(0, 12);

export interface PageFacts {
  readonly status: Status;
  readonly history: RecentHistory;
  readonly nowMs: number;
}

/** The page for operators. */
export function operatorPage({ status, history, nowMs }: PageFacts): PageModel {
  const { tone, line, section } = operatorHead(status, nowMs);
  return {
    title: `${line} - lockstepd`,
    icon: iconOf(tone),
    sections: new Map([
      ['head', section],
      ['notes', notesSection(status, nowMs)],
      [
        'mirrors-part',
        tablePart({ kind: 'mirrors', note: mirrorsNote, columns: mirrorColumns, none: status.mirrors.length === 0 }),
      ],
      ['generations', generationsSection(history.propagation, nowMs)],
      ['batches', batchesSection(status, nowMs)],
      ['repositories', repositoriesSection(status)],
    ]),
    rows: mirrorRows(status, history.lag, nowMs),
  };
}

/** The page for everybody. */
export function publicPage({ status, history, nowMs }: PageFacts): PageModel {
  const { tone, line, columns, note, head, generations, rows } = publicParts(
    publicStatus(status, history, nowMs),
    history.lag,
    nowMs,
  );
  return {
    title: `${line} - mirror status`,
    icon: iconOf(tone),
    sections: new Map([
      ['head', head],
      ['mirrors-part', tablePart({ kind: 'mirrors public', note, columns, none: rows.size === 0 })],
      ['generations', generations],
    ]),
    rows,
  };
}

/** The table without its rows, which come one by one. */
function tablePart({
  none,
  ...shape
}: {
  kind: string;
  note: string;
  columns: typeof mirrorColumns;
  none: boolean;
}): string {
  const empty = none ? '\n<p class="calm">None is configured.</p>' : '';
  return `<section id="mirrors-part" tabindex="-1">${table({ id: 'mirrors', title: 'Mirrors', ...shape }, rowsMark)}${empty}</section>`;
}

/** Where the rows of mirrors belong in their table. */
const rowsMark = '<!--rows-->';

/** The whole document. `version` is that of the model, from which a browser goes on; `links` are to the same as data. */
export function renderDocument(
  model: PageModel,
  { version, nowMs, links }: { version: string; nowMs: number; links: readonly string[] },
): string {
  const { head = '', ...rest } = Object.fromEntries(model.sections);
  const rows = [...model.rows.values()].join('\n');
  // A function, because `$` in a name means something in a string.
  const parts = Object.values(rest).map((section) => section.replace(rowsMark, () => `\n${rows}\n`));
  const data = links.map((link) => `<a href="${link}">${link}</a>`).join(', ');
  return `<!doctype html>
<html lang="en" data-version="${html(version)}" data-page="${pageEdition}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<noscript><meta http-equiv="refresh" content="${reloadSeconds}"></noscript>
<title>${html(model.title)}</title>
<link rel="icon" href="${model.icon}">
<style>${pageStyle}</style>
</head>
<body>
<a class="skip" href="#mirrors-part">Skip to the mirrors</a>
${head}
<main>
${parts.join('\n')}
</main>
<footer><p>As of <span id="now">${instantText(new Date(nowMs).toISOString())}</span>. <span id="live">It loads again every ${reloadSeconds} s</span>. The same as data: ${data}.</p></footer>
<script>${pageScript}</script>
</body>
</html>
`;
}

const iconShapes: Readonly<Record<Tone, string>> = {
  good: '<circle cx="8" cy="8" r="6" fill="#18794e"/>',
  busy: '<circle cx="8" cy="8" r="6" fill="none" stroke="#0b68cb" stroke-width="3" stroke-dasharray="28 10"/>',
  idle: '<circle cx="8" cy="8" r="5" fill="none" stroke="#5d6b7a" stroke-width="3"/>',
  warn: '<path d="M8 1 15 14H1z" fill="#c76a00"/>',
  bad: '<path d="M2 2h12v12H2z" fill="#c62a2f"/><path d="m5 5 6 6m0-6-6 6" stroke="#fff" stroke-width="2"/>',
};

function iconOf(tone: Tone): string {
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">${iconShapes[tone]}</svg>`;
  return `data:image/svg+xml,${encodeURIComponent(svg)}`;
}
