/** Writes what is known of a package, an index or a batch as text for `lockstepd explain`. Asks nobody. */
import type { PackageChange } from '../apk/changes.ts';
import type { Reason } from '../store/batches.ts';
import { escapeText } from '../system/log.ts';
import type { BatchStory, Explanation, FileStory, MirrorStory, Story, UploadStory } from './explain.ts';
import { bytesText, countText, whenText } from './words.ts';

const reasonsShown = 10;
const mirrorsShown = 20;
const indexesShown = 10;

/** Lines that end with a newline; everything that somebody else wrote is escaped for terminals. */
export function renderExplanationText(explanation: Explanation, nowMs: number): string {
  const blocks = explanation.stories.map((story) => blockOf(story, nowMs));
  const more = explanation.matches - explanation.stories.length;
  const rest =
    more > 0 ? [`… and ${more} older: name REPOSITORY/FILE or NAME-VERSION, or see more with --limit\n`] : [];
  return [...blocks, ...rest].join('\n');
}

type Line = readonly [label: string, text: string];

function blockOf(story: Story, nowMs: number): string {
  const [title, lines] = partsOf(story, nowMs);
  const mirrors = 'mirrors' in story ? mirrorLines(story.mirrors, nowMs) : [];
  const all = [...lines, ...mirrors].map(([label, text]) => `  ${label.padEnd(10)} ${escapeText(text)}`.trimEnd());
  return `${[escapeText(title), ...all].join('\n')}\n`;
}

function partsOf(story: Story, nowMs: number): readonly [title: string, lines: readonly Line[]] {
  switch (story.kind) {
    case 'package':
    case 'index':
      return [`${story.path}: ${fileTitle(story, nowMs)}`, fileLines(story, nowMs)];
    case 'upload':
      return [`${story.path}: ${story.state}, not published`, uploadLines(story, nowMs)];
    case 'batch':
      return [`batch ${story.id}: ${story.state}`, batchLines(story, nowMs)];
    default:
      return story satisfies never;
  }
}

const stateTexts: Readonly<Record<FileStory['state'], string>> = {
  served: 'served',
  kept: 'in no served index any more, kept for who still asks for it',
  pruned: 'in no served index any more, pruned',
  replaced: 'replaced',
  recalled: 'recalled',
  missing: 'named by the index, but the file was never here',
  damaged: 'served, but damaged here: see lockstepd scrub',
};

function fileTitle({ state, left }: FileStory, nowMs: number): string {
  if (left !== null && left.again !== null) return `left, and came again with generation ${left.again}`;
  const until = left?.kept_until ?? null;
  if (state !== 'kept' || until === null) return stateTexts[state];
  const isOver = Date.parse(until) <= nowMs;
  return isOver ? 'in no served index any more, pruned as soon as no mirror needs it' : stateTexts.kept;
}

function fileLines(story: FileStory, nowMs: number): Line[] {
  const { package: of, verified, published, left, recall } = story;
  const at = moment(nowMs);
  const size = `${bytesText(story.size)}${story.sha256 === null ? '' : `, SHA-256 ${story.sha256}`}`;
  const arch = of?.arch == null ? '' : `, ${of.arch}`;
  const own = verified.package_key === null ? '' : `; its own signature by ${verified.package_key}`;
  const key = verified.index_key === null ? '' : `, signed by ${verified.index_key}${shortKey(verified)}`;
  const what = story.kind === 'index' ? `the index itself${key}` : `named by ${verified.index}${key}${own}`;
  return [
    of === null ? ['index', size] : ['package', `${of.name} ${of.version}${arch}, ${size}`],
    ...uploadedLines(story, nowMs),
    ['verified', `${at(verified.at)}${what}`],
    ...decisionLines(story.decisions, nowMs),
    ['published', `${at(published.at)}as generation ${published.generation}`],
    ...rollbackLines(story.rollback),
    ...(left === null ? [] : [leftLine(story.kind, left, nowMs)]),
    ...(recall === null ? [] : [['recalled', `${at(recall.at)}by ${recall.who}: ${recall.why}`] as const]),
  ];
}

/** Of what a rollback published again, its earlier life tells the upload. */
function uploadedLines({ uploaded_at: uploaded, first_seen_at: first, ...of }: FileStory, nowMs: number): Line[] {
  if (of.rollback !== null) return [];
  const from = `by ${of.builder ?? 'somebody'}, batch ${of.batch ?? 'not on record'}`;
  return [['uploaded', `${moment(nowMs)(uploaded ?? first)}${from}`]];
}

function decisionLines(decisions: BatchStory['decisions'], nowMs: number): Line[] {
  return decisions.map(({ decision, at, who, why }) => [
    decision,
    `${moment(nowMs)(at)}by ${who}${why === '' ? '' : `: ${why}`}`,
  ]);
}

function rollbackLines(rollback: BatchStory['rollback']): Line[] {
  return rollback === null ? [] : [['rollback', `to generation ${rollback.to} by ${rollback.who}: ${rollback.why}`]];
}

function leftLine(kind: FileStory['kind'], left: NonNullable<FileStory['left']>, nowMs: number): Line {
  const text = `${moment(nowMs)(left.at)}with generation ${left.generation}`;
  if (kind === 'index') return ['replaced', text];
  return ['left', left.kept_until === null ? text : `${text}, kept for clients until ${left.kept_until}`];
}

function shortKey({ index_key_sha256: digest }: FileStory['verified']): string {
  return digest === null ? '' : ` (SHA256:${digest.slice(0, 16)}…)`;
}

function uploadLines(story: UploadStory, nowMs: number): Line[] {
  const at = moment(nowMs);
  return [
    ['uploaded', `${at(story.first_seen_at)}by ${story.builder}, batch ${story.batch ?? 'not on record yet'}`],
    ...(story.at === null ? [] : [[story.state, at(story.at).trimEnd()] as const]),
    ...reasonLines(story.reasons),
    ...nextLines(story.state, story.batch),
    ...quarantineLines(story.quarantine),
  ];
}

function batchLines(story: BatchStory, nowMs: number): Line[] {
  const at = moment(nowMs);
  const { published } = story;
  const seen = story.uploaded_at ?? story.first_seen_at;
  return [
    ...(seen === null ? [] : [['uploaded', `${at(seen)}by ${story.builder ?? 'somebody'}`] as const]),
    ...rollbackLines(story.rollback),
    ...(story.verified_at === null ? [] : [['verified', at(story.verified_at).trimEnd()] as const]),
    ...(published === null ? [] : [['published', `${at(published.at)}as generation ${published.generation}`] as const]),
    ...(published !== null || story.updated_at === null
      ? []
      : [[story.state, at(story.updated_at).trimEnd()] as const]),
    ...indexLines(story.indexes),
    ...changeLines(story),
    ...reasonLines(story.reasons),
    ...decisionLines(story.decisions, nowMs),
    ...nextLines(story.state, story.id),
    ...quarantineLines(story.quarantine),
  ];
}

function indexLines(indexes: BatchStory['indexes']): Line[] {
  const lines = indexes.slice(0, indexesShown).map(({ path, change, signed_by: key }) => {
    if (change === 'removed') return `${path} (removed)`;
    return key === null ? path : `${path}, signed by ${key}`;
  });
  return labelled('indexes', lines, indexes.length - indexesShown);
}

function changeLines({ changes, changed_names: names }: BatchStory): Line[] {
  if (names === 0) return [];
  const more = names > changes.length ? ', …' : '';
  return [['changes', `${countText(names, 'package')}: ${changes.map(changeText).join(', ')}${more}`]];
}

function changeText({ kind, name, from, to }: PackageChange): string {
  if (from === null || to === null) return `${kind} ${name} ${to ?? from ?? ''}`;
  return from === to ? `${kind} ${name} ${to}` : `${kind} ${name} ${from} to ${to}`;
}

function reasonLines(reasons: readonly Reason[]): Line[] {
  const lines = reasons.slice(0, reasonsShown).map(({ code, path, detail }) => `${code} ${path}: ${detail}`);
  return labelled('because', lines, reasons.length - reasonsShown);
}

function nextLines(state: UploadStory['state'], batch: string | null): Line[] {
  if (state !== 'held' || batch === null) return [];
  return [['to do', `lockstepd preview ${batch}, then approve or reject it, or let the builder complete the upload`]];
}

function quarantineLines(quarantine: BatchStory['quarantine']): Line[] {
  return quarantine === null ? [] : [['kept', `in ${quarantine.path} until ${quarantine.until} at most`]];
}

const order: readonly MirrorStory['state'][] = [
  'not yet',
  'still there',
  'unknown',
  'not there',
  'left',
  'there',
  'not taken',
];
const isAsWanted = ({ state, why }: MirrorStory): boolean =>
  (state === 'there' || state === 'left' || state === 'not taken') && why === null;

/** First where it is not as it should be, then the others, as many as there is room for. */
function mirrorLines(mirrors: readonly MirrorStory[], nowMs: number): Line[] {
  if (mirrors.length === 0) return [];
  const sorted = mirrors.toSorted(
    (a, b) => Number(isAsWanted(a)) - Number(isAsWanted(b)) || order.indexOf(a.state) - order.indexOf(b.state),
  );
  const width = Math.max(...sorted.slice(0, mirrorsShown).map(({ name }) => Array.from(escapeText(name)).length));
  const lines = sorted.slice(0, mirrorsShown).map((mirror) => {
    const name = escapeText(mirror.name);
    return `${name}${' '.repeat(width - Array.from(name).length)}  ${mirrorText(mirror, nowMs)}`;
  });
  const states = order.flatMap((state) => {
    const count = mirrors.filter((mirror) => mirror.state === state).length;
    return count === 0 ? [] : [`${count} ${state}`];
  });
  return labelled('mirrors', [states.join(', '), ...lines], mirrors.length - mirrorsShown);
}

function mirrorText(mirror: MirrorStory, nowMs: number): string {
  const at = moment(nowMs);
  const since = mirror.state === 'left' ? mirror.left_at : mirror.confirmed_at;
  const seen = mirror.state === 'there' && mirror.observed_at !== null ? `, seen there ${mirror.observed_at}` : '';
  const when = since === null ? '' : ` since ${at(since).trimEnd()}`;
  return `${mirror.state}${when}${seen}${mirror.why === null ? '' : `: ${mirror.why}`}`;
}

function labelled(label: string, lines: readonly string[], more: number): Line[] {
  const all = more > 0 ? [...lines, `… and ${more} more, see --json`] : lines;
  return all.map((line, i) => [i === 0 ? label : '', line] as const);
}

/** `2026-11-22T18:00:00Z (3 min ago) `, nothing for no instant. */
function moment(nowMs: number): (instant: string | null) => string {
  return (instant) => (instant === null ? '' : `${instant} (${whenText(instant, nowMs)}) `);
}
