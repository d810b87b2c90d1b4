/** The shape in which a scrub is told: in `/status.json`, by `lockstepd scrub --json`, in the store. Pure. */

/** What a scrub found on one mirror; counts are files. */
export interface MirrorScrub {
  readonly name: string;
  readonly outcome: 'waiting' | 'running' | 'done' | 'skipped' | 'failed';
  /** Why it was skipped or failed, or what could not be looked at. */
  readonly detail: string | null;
  readonly files: number;
  /** Packages whose content was read. */
  readonly sampled: number;
  readonly missing: number;
  /** Another size or time than ours. */
  readonly different: number;
  /** Size and time are right, the bytes are not. */
  readonly corrupt: number;
  readonly repaired: number;
  /** Left-over temporary files of ours that were removed. */
  readonly temporary: number;
  readonly foreign: number;
  /** Some of the files that are not ours and stay. */
  readonly foreign_files: readonly string[];
}

export interface ScrubReport {
  /** Which scrub this is, counted from 1; 0 before the first. */
  readonly number: number;
  readonly running: boolean;
  readonly started_at: string | null;
  /** Null while it runs, and when it was cut off. */
  readonly finished_at: string | null;
  readonly files: number;
  readonly files_total: number;
  readonly bytes: number;
  readonly corrupt: number;
  readonly repaired: number;
  readonly temporary: number;
  readonly foreign: number;
  readonly foreign_files: readonly string[];
  /** Why the scrub of the primary ended early. */
  readonly error: string | null;
  readonly mirrors: readonly MirrorScrub[];
}

/** What the status tells of scrubs: the one that runs, else the last one; and what is damaged now. */
export interface ScrubStatus extends ScrubReport {
  /** Files of the primary whose bytes are wrong and of which no good copy was found. */
  readonly damaged: readonly { readonly path: string; readonly found_at: string; readonly detail: string }[];
}

export const neverScrubbed: ScrubReport = {
  number: 0,
  running: false,
  started_at: null,
  finished_at: null,
  files: 0,
  files_total: 0,
  bytes: 0,
  corrupt: 0,
  repaired: 0,
  temporary: 0,
  foreign: 0,
  foreign_files: [],
  error: null,
  mirrors: [],
};

/** True when everything that was looked at is as it must be now. */
export function isSound(scrub: ScrubStatus): boolean {
  const mended = scrub.mirrors.every(
    (m) => m.outcome !== 'failed' && m.missing + m.different + m.corrupt <= m.repaired,
  );
  return scrub.damaged.length === 0 && scrub.error === null && mended;
}
