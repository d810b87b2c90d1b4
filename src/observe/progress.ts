/** How far something long is: its share, its rate, what remains; as one line for a terminal or a log. Pure. */
import type { PushProgress } from '../replicate/push-progress.ts';
import { bytesText, spanText } from './words.ts';

/** What is done out of what; a total of 0 is one that is not known yet. */
export interface Progress {
  /** What is counted, in the plural: `packages`, `files`. */
  readonly what: string;
  readonly done: number;
  readonly total: number;
  readonly bytes: number;
  /** 0: not known. */
  readonly bytesTotal: number;
  /** From 0 to 1, where the counts do not say it. */
  readonly share?: number;
}

/** A push that fills a mirror, as `/status.json` tells it. */
export interface PushProgressView {
  readonly packages: number;
  readonly packages_total: number;
  readonly bytes: number;
  readonly bytes_total: number;
  readonly started_at: string;
}

/** The progress as `/status.json` tells it; `instant` writes a time. */
export function pushProgressView(
  progress: PushProgress | null,
  instant: (ms: number | null) => string | null,
): PushProgressView | null {
  if (progress === null) return null;
  const { packages, packagesTotal, bytes, bytesTotal, startedAtMs } = progress;
  return {
    packages,
    packages_total: packagesTotal,
    bytes,
    bytes_total: bytesTotal,
    started_at: instant(startedAtMs) ?? '',
  };
}

const barWidth = 24;
const leastBar = 8;
/** Before, a guess of what remains says nothing. */
const tellRemainingAfterMs = 2000;

/** The share that is done, from 0 to 1; null where nothing says it. */
function shareOf({ share, done, total, bytes, bytesTotal }: Progress): number | null {
  if (share !== undefined) return clamp(share);
  if (bytesTotal > 0) return clamp(bytes / bytesTotal);
  return total > 0 ? clamp(done / total) : null;
}

/** Whole percents of a push that fills a mirror; 100 only when all is there. Null: there is none. */
export function progressPercent(view: PushProgressView | null): number | null {
  return view === null ? null : Math.floor((shareOf(progressOf(view)) ?? 0) * 100);
}

export function progressOf(view: PushProgressView): Progress {
  const { packages, packages_total: total, bytes, bytes_total: bytesTotal } = view;
  return { what: 'packages', done: packages, total, bytes, bytesTotal };
}

/**
 * One line: bar (only within `columns`), percents, counts, bytes, rate and the time that remains, judged by the time since the
 * begin. Parts that find no room in `columns` are left out, the last ones first.
 */
export function renderProgressLine(progress: Progress, elapsedMs: number, columns?: number): string {
  const share = shareOf(progress);
  const { what, done, total, bytes, bytesTotal } = progress;
  const seconds = elapsedMs / 1000;
  const parts = [
    ...(share === null ? [] : [`${String(Math.floor(share * 100)).padStart(3)} %`]),
    total > 0 ? `${done} of ${total} ${what}` : `${done} ${what}`,
    ...(bytes === 0 && bytesTotal === 0
      ? []
      : [bytesTotal > 0 ? `${bytesText(bytes)} of ${bytesText(bytesTotal)}` : bytesText(bytes)]),
    ...(bytes > 0 && seconds >= 1 ? [`${bytesText(bytes / seconds)}/s`] : []),
    ...(share !== null && share > 0 && share < 1 && elapsedMs >= tellRemainingAfterMs
      ? [`${spanText(Math.ceil((seconds * (1 - share)) / share))} left`]
      : []),
  ];
  if (columns === undefined) return parts.join(', ').trimStart();
  while (parts.length > 1 && parts.join('  ').length > columns - 1) parts.pop();
  const text = parts.join('  ');
  const room = Math.min(barWidth, columns - text.length - 4);
  return share === null || room < leastBar ? text.slice(0, columns - 1) : `${barOf(share, room)} ${text}`;
}

function barOf(share: number, width: number): string {
  const full = Math.floor(share * width);
  return `[${'#'.repeat(full)}${'.'.repeat(width - full)}]`;
}

function clamp(share: number): number {
  return Math.min(1, Math.max(0, share));
}
