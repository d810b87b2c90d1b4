/** Decides what is told about a batch that is not published, as JSON and as one screen of text. Asks nobody. */
import type { ChangeKind } from '../apk/changes.ts';
import type { IndexPreview } from '../ingest/preview.ts';
import type { BatchRow, BatchState, Reason } from '../store/batches.ts';
import { toInstant } from '../system/instant.ts';
import { escapeText } from '../system/log.ts';
import { bytesText, countText, whenText, wrapText } from './words.ts';

/** A piece of a preview (public API: fields are added, never renamed). Instants are RFC 3339 in UTC. */
export interface BatchPreview {
  readonly version: 1;
  readonly batch: string;
  readonly builder: string;
  readonly state: BatchState;
  readonly updated_at: string;
  readonly reasons: readonly Reason[];
  readonly indexes: readonly PreviewedIndex[];
  /** The index after which the next piece goes on; null: this was the last. */
  readonly next: string | null;
}

interface PreviewedIndex {
  /** Path of the index. */
  readonly path: string;
  readonly outcome: IndexPreview['outcome'];
  readonly reasons: readonly Reason[];
  readonly index: (IndexView & { readonly signed_by: string }) | null;
  readonly served: (IndexView & { readonly generation: number }) | null;
  readonly bytes_to_copy: number;
  readonly missing: number;
  readonly changes: Readonly<Record<ChangeKind, ChangesView>>;
}

interface IndexView {
  readonly sha256: string;
  readonly packages: number;
  /** When the newest package in it was built. */
  readonly newest_build_at: string | null;
  /** Escaped for display. */
  readonly description: string | null;
}

interface ChangesView {
  readonly count: number;
  /** The first of them. */
  readonly packages: readonly { readonly name: string; readonly from: string | null; readonly to: string | null }[];
}

export function previewView(batch: BatchRow, indexes: readonly IndexPreview[], next: string | null): BatchPreview {
  return {
    version: 1,
    batch: batch.id,
    builder: batch.builder,
    state: batch.state,
    updated_at: toInstant(batch.updatedAtMs),
    reasons: batch.reasons,
    indexes: indexes.map(previewedIndex),
    next,
  };
}

function previewedIndex(preview: IndexPreview): PreviewedIndex {
  const { path, outcome, reasons, index, served, bytesToCopy, missing, changes } = preview;
  const changesView = (kind: ChangeKind): ChangesView => ({
    count: changes[kind].count,
    packages: changes[kind].first.map(({ name, from, to }) => ({ name, from, to })),
  });
  return {
    path,
    outcome,
    reasons,
    index: index && { ...indexView(index), signed_by: escapeText(index.signedBy) },
    served: served && { ...indexView(served), generation: served.generation },
    bytes_to_copy: bytesToCopy,
    missing,
    changes: {
      added: changesView('added'),
      upgraded: changesView('upgraded'),
      downgraded: changesView('downgraded'),
      rebuilt: changesView('rebuilt'),
      removed: changesView('removed'),
    },
  };
}

function indexView(index: NonNullable<IndexPreview['index'] | IndexPreview['served']>): IndexView {
  const { sha256, packages, newestBuildTime, description } = index;
  const built = newestBuildTime === null ? null : new Date(newestBuildTime * 1000);
  return {
    sha256,
    packages,
    newest_build_at: built === null || Number.isNaN(built.getTime()) ? null : toInstant(built.getTime()),
    description: description === null ? null : escapeText(description.trim()),
  };
}

const width = 110;
const indent = '              ';

/** The whole preview as lines of text that end with a newline; `preview` holds every index. */
export function renderPreviewText(preview: BatchPreview, nowMs: number): string {
  const title = `batch ${escapeText(preview.batch)} of ${escapeText(preview.builder)}: ${preview.state}, ${whenText(preview.updated_at, nowMs)}`;
  const told = new Set(preview.indexes.flatMap((index) => index.reasons.map((r) => `${r.code} ${r.path} ${r.detail}`)));
  const hidden = preview.reasons.filter((r) => !told.has(`${r.code} ${r.path} ${r.detail}`));
  const blocks = preview.indexes.map((index) => previewText(index, nowMs));
  if (blocks.length === 0) blocks.push('nothing of it lies in the inbox any more\n');
  return [`${[title, ...hidden.slice(0, 20).map(reasonText)].join('\n')}\n`, ...blocks].join('\n');
}

function previewText(view: PreviewedIndex, nowMs: number): string {
  const { path, index, served, changes } = view;
  const kinds = Object.entries(changes).filter(([, { count }]) => count > 0);
  const counts = kinds.map(([kind, { count }]) => `${count} ${kind}`);
  const bytes = view.bytes_to_copy > 0 ? [`${bytesText(view.bytes_to_copy)} to copy`] : [];
  const missing = view.missing > 0 ? [`${countText(view.missing, 'package')} missing`] : [];
  const summary = [...counts, ...bytes, ...missing].join(', ');
  const lines = [
    `${escapeText(path)}: ${summary === '' ? 'nothing changes' : summary}`,
    ...view.reasons.slice(0, 20).map(reasonText),
    `  index       ${index === null ? outcomeText(view) : `${indexText(index, nowMs)}, signed by ${escapeText(index.signed_by)}`}`,
    `  served      ${served === null ? 'nothing' : `${indexText(served, nowMs)}, since generation ${served.generation}`}`,
    ...kinds.map(([kind, { count, packages }]) => changeText(kind, count, packages)),
  ];
  return `${lines.join('\n')}\n`;
}

function outcomeText(view: PreviewedIndex): string {
  return view.reasons.some((r) => r.code === 'REPOSITORY_VANISHED') || view.outcome === 'leaving'
    ? 'none: it would leave'
    : 'not readable or not verified';
}

function indexText(index: IndexView, nowMs: number): string {
  const built = index.newest_build_at;
  const age = built === null ? 'build time unknown' : `newest built ${built} (${whenText(built, nowMs)})`;
  const description = index.description === null || index.description === '' ? '' : `, "${index.description}"`;
  return `${index.sha256.slice(0, 12)}, ${countText(index.packages, 'package')}, ${age}${description}`;
}

function changeText(kind: string, count: number, packages: ChangesView['packages']): string {
  const words = packages.map(({ name, from, to }) => {
    const versions = from === to || from === null || to === null ? (to ?? from ?? '') : `${from} -> ${to}`;
    return escapeText(`${name} ${versions}`);
  });
  if (count > packages.length) words.push(`and ${count - packages.length} more`);
  return `  ${kind.padEnd(11)} ${wrapText(words, width - indent.length).join(`\n${indent}`)}`;
}

function reasonText(reason: Reason): string {
  return `  ${escapeText(reason.code)} ${escapeText(reason.path)}: ${escapeText(reason.detail)}`;
}
