/** Decides what is told about the past: the history as JSON and as a table. Asks nobody. */
import type { Reason } from '../store/batches.ts';
import type { HistoryCursor, HistoryEntry } from '../store/history.ts';
import { toInstant } from '../system/instant.ts';
import { escapeText } from '../system/log.ts';

/** A piece of the history, newest first (public API: fields are added, never renamed). Instants are RFC 3339 in UTC. */
export interface HistoryPage {
  readonly version: 1;
  readonly entries: readonly HistoryView[];
  /** Where the next piece goes on; null: this was the last. */
  readonly next: HistoryCursor | null;
}

export type HistoryView =
  | {
      readonly kind: 'generation';
      readonly at: string;
      readonly generation: number;
      readonly batch: string;
      readonly builder: string | null;
      readonly added: number;
      readonly removed: number;
      readonly indexes: readonly {
        readonly path: string;
        readonly change: 'added' | 'updated' | 'removed';
        readonly sha256: string;
        readonly signed_by: string;
      }[];
      readonly stage_seconds: Readonly<Record<'settle' | 'copy' | 'verify' | 'publish', number | null>>;
      /** Only of a generation that a rollback made. */
      readonly rollback?: {
        readonly to: number;
        readonly repository: string | null;
        readonly who: string;
        readonly why: string;
      };
    }
  | {
      readonly kind: 'recall';
      readonly at: string;
      readonly who: string;
      readonly why: string;
      readonly package: string;
      readonly files: number;
    }
  | {
      readonly kind: 'decision';
      readonly at: string;
      readonly decision: 'approved' | 'rejected';
      readonly batch: string;
      readonly builder: string;
      readonly who: string;
      readonly why: string;
      readonly indexes: readonly {
        readonly path: string;
        readonly sha256: string;
        readonly reasons: readonly Reason[];
      }[];
    };

export function historyView(page: {
  readonly entries: readonly HistoryEntry[];
  readonly next: HistoryCursor | null;
}): HistoryPage {
  return { version: 1, entries: page.entries.map(entryView), next: page.next };
}

function entryView(entry: HistoryEntry): HistoryView {
  const at = toInstant(entry.atMs);
  if (entry.kind === 'recall') {
    const { kind, who, why, asked, files } = entry;
    return { kind, at, who: escapeText(who), why: escapeText(why), package: escapeText(asked), files };
  }
  const { batch, builder } = entry;
  if (entry.kind === 'decision') {
    const { kind, decision, who, why, indexes } = entry;
    return {
      kind,
      at,
      decision,
      batch,
      builder: entry.builder,
      who: escapeText(who),
      why: escapeText(why),
      indexes: indexes.map(({ path, sha256, reasons }) => ({ path, sha256, reasons })),
    };
  }
  const seconds = (ms: number | null): number | null => (ms === null ? null : ms / 1000);
  return {
    kind: entry.kind,
    at,
    generation: entry.number,
    batch,
    builder,
    added: entry.added,
    removed: entry.removed,
    indexes: entry.indexes.map(({ path, change, sha256, signedBy }) => ({
      path,
      change,
      sha256,
      signed_by: escapeText(signedBy),
    })),
    stage_seconds: {
      settle: seconds(entry.times.settle),
      copy: seconds(entry.times.copy),
      verify: seconds(entry.times.verify),
      publish: seconds(entry.times.publish),
    },
    ...(entry.rollback === null
      ? {}
      : {
          rollback: {
            to: entry.rollback.to,
            repository: entry.rollback.repository,
            who: escapeText(entry.rollback.who),
            why: escapeText(entry.rollback.why),
          },
        }),
  };
}

const repositoriesShown = 3;
const columns = ['TIME', 'WHAT', 'BUILDER', 'ADDED', 'REMOVED', 'REPOSITORIES', 'KEY', 'SECONDS', 'BATCH'];

/** The history as a table with a line of its own below each decision. Ends with a newline. */
export function renderHistoryText(entries: readonly HistoryView[]): string {
  if (entries.length === 0) return 'nothing published and nothing decided yet\n';
  const rows = entries.map(rowOf);
  const widths = columns.map((title, i) => Math.max(title.length, ...rows.map((row) => (row[i] ?? '').length)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd();
  const lines = entries.flatMap((entry, i) => [line(rows[i] ?? []), ...decisionLines(entry)]);
  return `${[line(columns), ...lines].join('\n')}\n`;
}

function rowOf(entry: HistoryView): string[] {
  if (entry.kind === 'recall')
    return [entry.at, 'recalled', '-', '-', String(entry.files), entry.package, '-', '-', '-'].map(escapeText);
  const paths = [
    ...new Set(
      entry.indexes.map((index) => {
        const repository = index.path.slice(0, index.path.lastIndexOf('/'));
        return 'change' in index && index.change !== 'updated' ? `${repository} (${index.change})` : repository;
      }),
    ),
  ];
  const more = paths.length > repositoriesShown ? ` and ${paths.length - repositoriesShown} more` : '';
  const repositories = `${paths.slice(0, repositoriesShown).join(', ')}${more}`;
  const isGeneration = entry.kind === 'generation';
  const keys = isGeneration ? [...new Set(entry.indexes.map((r) => r.signed_by))] : [];
  return [
    entry.at,
    isGeneration ? `generation ${entry.generation}` : entry.decision,
    entry.builder ?? '-',
    isGeneration ? String(entry.added) : '-',
    isGeneration ? String(entry.removed) : '-',
    repositories,
    isGeneration ? keys.join(', ') : '-',
    isGeneration ? secondsText(entry.stage_seconds) : '-',
    entry.batch,
  ].map(escapeText);
}

/** What the daemon itself needed; how long it waited for the upload to settle is not its doing. */
function secondsText(seconds: (HistoryView & { kind: 'generation' })['stage_seconds']): string {
  const { verify, copy, publish } = seconds;
  const known = [verify, copy, publish].filter((s) => s !== null);
  return known.length === 0 ? '-' : known.reduce((sum, s) => sum + s, 0).toFixed(3);
}

function decisionLines(entry: HistoryView): string[] {
  if (entry.kind === 'recall') return [escapeText(`  by ${entry.who}: ${entry.why}`)];
  if (entry.kind === 'generation') {
    if (entry.rollback === undefined) return [];
    const { to, repository, who, why } = entry.rollback;
    return [
      escapeText(`  back to generation ${to}${repository === null ? '' : ` of ${repository}`} by ${who}: ${why}`),
    ];
  }
  const codes = [...new Set(entry.indexes.flatMap((r) => r.reasons.map((reason) => reason.code)))];
  const why = entry.why === '' ? 'no reason given' : entry.why;
  return [escapeText(`  by ${entry.who}: ${why}${codes.length === 0 ? '' : ` (${codes.join(', ')})`}`)];
}
