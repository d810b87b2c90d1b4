/** Decides how the lag of mirrors is kept over time: the largest of each quarter of an hour for a day, of each two hours for a week. Pure. */
import type { LagRange, LagSample } from '../store/lag-samples.ts';
import { type MirrorFacts, observedLagSeconds, secondsSince } from './status.ts';
import { isSilent } from './unanswered.ts';

/** The lag of one mirror in seconds, oldest first, the last piece being the present one; null: not known, or we did not run. */
export interface LagSeries {
  readonly mirror: string;
  /** 96 pieces of 15 minutes. */
  readonly day: readonly (number | null)[];
  /** 84 pieces of 2 hours. */
  readonly week: readonly (number | null)[];
}

/** Both views, in seconds. */
const views = { day: { span: 900, pieces: 96 }, week: { span: 7200, pieces: 84 } } as const;
type View = keyof typeof views;
const viewNames: readonly View[] = ['day', 'week'];

type Pieces = Readonly<Record<View, Map<number, number>>>;

/** What users lack; what the mirror was not confirmed to hold while it was never probed. Null: not known. */
export function lagToKeep(mirror: MirrorFacts, nowMs: number): number | null {
  if (mirror.observedAtMs !== null) {
    const lag = observedLagSeconds(mirror, nowMs);
    // It lacked nothing when it was last seen, which says nothing of now.
    return lag === 0 && isSilent({ unanswered_seconds: mirror.unanswered?.seconds ?? null }) ? null : lag;
  }
  return mirror.generation === null ? null : secondsSince(mirror.pushedMissingSinceMs, nowMs);
}

/** The pieces of time that are kept at `nowMs`. */
export function lagRanges(nowMs: number): LagRange[] {
  return viewNames.map((view) => rangeOf(view, nowMs));
}

/** At most 180 numbers for each mirror, in memory. */
export class LagHistory {
  readonly #mirrors = new Map<string, Pieces>();
  readonly #unsaved = new Map<string, LagSample>();

  constructor(samples: readonly LagSample[]) {
    for (const { span, bucket, mirror, lag } of samples) {
      const view = viewNames.find((name) => views[name].span === span);
      if (view) this.#piecesOf(mirror)[view].set(bucket, lag);
    }
  }

  /** What `mirror` lags by at `nowMs`. */
  note(mirror: string, lag: number, nowMs: number): void {
    for (const view of viewNames) {
      const { span, last: bucket } = rangeOf(view, nowMs);
      const pieces = this.#piecesOf(mirror)[view];
      const known = pieces.get(bucket);
      if (known !== undefined && known >= lag) continue;
      pieces.set(bucket, lag);
      this.#unsaved.set(`${span} ${bucket} ${mirror}`, { span, bucket, mirror, lag });
    }
  }

  /** What came or rose since `saved`. */
  get unsaved(): readonly LagSample[] {
    return [...this.#unsaved.values()];
  }

  /** What was unsaved is in the store now. */
  saved(): void {
    this.#unsaved.clear();
  }

  /** What is too old goes, and what is of a time to come because the clock was set back. */
  forget(nowMs: number): void {
    const ranges = lagRanges(nowMs);
    const isKept = (span: number, bucket: number): boolean =>
      ranges.some((range) => range.span === span && bucket >= range.first && bucket <= range.last);
    for (const [key, { span, bucket }] of this.#unsaved) if (!isKept(span, bucket)) this.#unsaved.delete(key);
    for (const [mirror, pieces] of this.#mirrors) {
      for (const view of viewNames)
        for (const bucket of pieces[view].keys()) if (!isKept(views[view].span, bucket)) pieces[view].delete(bucket);
      if (viewNames.every((view) => pieces[view].size === 0)) this.#mirrors.delete(mirror);
    }
  }

  /** Of each of `mirrors`, in that order. */
  series(mirrors: readonly string[], nowMs: number): LagSeries[] {
    return mirrors.map((mirror) => {
      const known = this.#mirrors.get(mirror);
      const of = (view: View): (number | null)[] => {
        const { span, first } = rangeOf(view, nowMs);
        return Array.from({ length: views[view].pieces }, (_, n) => known?.[view].get(first + n * span) ?? null);
      };
      return { mirror, day: of('day'), week: of('week') };
    });
  }

  #piecesOf(mirror: string): Pieces {
    const known = this.#mirrors.get(mirror) ?? { day: new Map(), week: new Map() };
    this.#mirrors.set(mirror, known);
    return known;
  }
}

function rangeOf(view: View, nowMs: number): LagRange {
  const { span, pieces } = views[view];
  const last = Math.floor(nowMs / 1000 / span) * span;
  return { span, first: last - (pieces - 1) * span, last };
}
