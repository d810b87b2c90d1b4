/** Decides what an index that was never published here, but lies on a mirror that primaries share, says about the mirror. Pure. */
import { compareDescriptions } from '../apk/description.ts';

/** `undated`: signed by a trusted key, and whether it is newer than ours cannot be told. `untrusted`: nobody whom we trust made it. */
export type Standing = 'newer' | 'older' | 'undated' | 'untrusted';

/** Verifies and dates the index at `path`. Rejects with the signal's reason once aborted. */
export type Vouch = (path: string, bytes: Buffer, signal: AbortSignal) => Promise<Standing>;

/** The age that an index tells of itself, under its signature. */
export interface SignedAge {
  readonly description: string | null;
  /** Unix seconds. */
  readonly newestBuildTime: number | null;
}

/** Where a trusted index stands beside ours of the same name; null: there never was one here. */
export function standingOf(theirs: SignedAge, ours: SignedAge | null): Standing {
  if (ours === null) return 'newer';
  const order = compareDescriptions(theirs.description, ours.description);
  if (order !== null && order !== 0) return order > 0 ? 'newer' : 'older';
  if (theirs.newestBuildTime === null || ours.newestBuildTime === null) return 'undated';
  if (theirs.newestBuildTime === ours.newestBuildTime) return 'undated';
  return theirs.newestBuildTime > ours.newestBuildTime ? 'newer' : 'older';
}
