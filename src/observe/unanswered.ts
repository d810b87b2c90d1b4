/** Decides when a mirror that does not answer probes is not known to serve anything any more. Pure. */
import { spanText } from './words.ts';

/** Probes of a mirror that were not answered. */
export interface Unanswered {
  /** Since the first one. */
  readonly seconds: number;
  /** What became of the last one. */
  readonly detail: string;
}

interface Probed {
  readonly unanswered_seconds: number | null;
  readonly observed_error: string | null;
}

/** As long as the alert MirrorNotObserved waits. */
const silentAfterSeconds = 15 * 60;

/** True once nobody knows what its users get, or whether they get anything, whatever was seen before. */
export function isSilent({ unanswered_seconds: seconds }: Pick<Probed, 'unanswered_seconds'>): boolean {
  return seconds !== null && seconds >= silentAfterSeconds;
}

/** What is told of it; null of one that has answered, or has not for a moment only. */
export function silentText(mirror: Probed): string | null {
  if (!isSilent(mirror)) return null;
  const span = spanText(Math.floor((mirror.unanswered_seconds ?? 0) / 60) * 60);
  return `not observed for ${span}: ${mirror.observed_error ?? ''}`;
}
