/** Decides whether a mirror's indexes may be replaced: from what lies there and from what was ever published here. Pure. */
import type { Trace } from '../store/trace.ts';
import type { Standing } from './fellow.ts';
import { isNamesake, namesakeHint } from './namesake.ts';

/** What was found at the mirror. */
export interface Held {
  /** Its trace file; null when there is none. */
  readonly trace: Trace | null;
  /** SHA-256 of the indexes that lie there, by path; null when they were not looked at. */
  readonly indexes: ReadonlyMap<string, string> | null;
  /** Of those that were never published here: what their signatures say; empty when nobody can vouch for them. */
  readonly standings?: ReadonlyMap<string, Standing>;
}

/** What is known here. */
export interface FenceFacts {
  /** The name under which this primary publishes; null: it has none. */
  readonly primary: string | null;
  /** The newest generation and when it came out. */
  readonly generation: number;
  readonly publishedAtMs: number;
  /** The generation whose indexes we brought there last; null: none ever. */
  readonly serves: number | null;
  /** What the mirror was confirmed to hold; null: not known, it is compared anyhow. */
  readonly confirmed: number | null;
  /** True when a probe saw an index there that was never published here. */
  readonly strange: boolean;
  /** True when a probe saw an index there that is newer than ours, by a trusted key. */
  readonly newer?: boolean;
  /** True when indexes that were never published here can be verified: then their signatures count, not what a trace says. */
  readonly vouches?: boolean;
  /** When our generation of this number came out; null: there is no record of one. */
  readonly publishedAtOf: (generation: number) => number | null;
  /** The last generation that published this index, null while it is current, 0: before the records were lost, undefined: never published here. */
  readonly lastOf: (path: string, sha256: string) => number | null | undefined;
}

export type FenceVerdict =
  | { readonly verdict: 'go' }
  /** The trace is not enough: look at the indexes themselves. */
  | { readonly verdict: 'look'; readonly foreign: boolean }
  /** What we brought there is gone, or has been set back: compare anew before anything is replaced. */
  | { readonly verdict: 'drifted'; readonly detail: string }
  /** Holds something newer than ours. */
  | { readonly verdict: 'ahead'; readonly detail: string }
  /** Holds what was never published here, and nothing says that it may go. */
  | { readonly verdict: 'unknown'; readonly detail: string };

/**
 * A mirror without a trace to which nothing was ever brought is taken over as it is: whoever added it to the configuration
 * has said so. A trace of a newer generation of somebody else is never overwritten; neither is an index of unknown origin.
 */
export function judge({ trace, indexes, standings = new Map() }: Held, facts: FenceFacts): FenceVerdict {
  if (trace === null && facts.serves === null) return { verdict: 'go' };
  let foreignTrace = false;
  if (trace !== null) {
    const [stranger] = strangersOf(trace.indexes, facts);
    if (stranger !== undefined) {
      foreignTrace = facts.vouches === true && !isOwn(trace, facts);
      if (!foreignTrace) return ofAnother(trace, stranger, facts);
    }
  }
  if (facts.confirmed !== null) {
    if (trace === null) return { verdict: 'drifted', detail: 'its trace file is gone' };
    const older = olderThan(facts.confirmed, trace.indexes, facts);
    if (older !== undefined) return { verdict: 'drifted', detail: `it was set back to generation ${trace.generation}` };
  }
  const suspect = facts.strange || facts.newer === true || facts.confirmed === null;
  if (indexes === null)
    return foreignTrace || (facts.serves !== null && suspect)
      ? { verdict: 'look', foreign: foreignTrace }
      : { verdict: 'go' };
  return ofForeign(strangersOf(indexes, facts), trace, standings, facts);
}

/** Indexes that were never published here: another primary's may be replaced when they are older than ours. */
function ofForeign(
  foreign: readonly string[],
  trace: Trace | null,
  standings: ReadonlyMap<string, Standing>,
  facts: FenceFacts,
): FenceVerdict {
  const untrusted = foreign.find((path) => (standings.get(path) ?? 'untrusted') === 'untrusted');
  if (untrusted !== undefined) return { verdict: 'unknown', detail: `${untrusted} there was never published here` };
  // Where signatures tell no time, who wrote the trace does.
  const isOurs = trace === null || isOwn(trace, facts);
  const writtenLater = isOurs || trace.publishedAtMs > facts.publishedAtMs;
  const newer = foreign.find((path) => {
    const standing = standings.get(path);
    return standing === 'newer' || (standing === 'undated' && writtenLater);
  });
  if (newer === undefined) return { verdict: 'go' };
  const by = trace?.primary ?? 'another primary';
  return { verdict: 'ahead', detail: `${newer} there is signed by a trusted key and newer than ours (${by})` };
}

function ofAnother(trace: Trace, stranger: string, facts: FenceFacts): FenceVerdict {
  const named = trace.primary !== null && trace.primary === facts.primary;
  const own = named && isOwn(trace, facts);
  const published = new Date(trace.publishedAtMs).toISOString();
  const hint = named ? ` (${namesakeHint})` : '';
  const detail = `generation ${trace.generation} of ${trace.primary ?? 'an unnamed primary'}, published ${published}, with ${stranger} that was never published here${hint}`;
  const newer = own
    ? trace.generation > facts.generation
    : trace.primary !== null && trace.publishedAtMs > facts.publishedAtMs;
  return { verdict: newer ? 'ahead' : 'unknown', detail };
}

function isOwn(trace: Trace, facts: FenceFacts): boolean {
  return trace.primary === facts.primary && !isNamesake(trace, facts);
}

/** Paths of the indexes that were never published here. */
function strangersOf(indexes: ReadonlyMap<string, string>, { lastOf }: FenceFacts): string[] {
  return [...indexes].filter(([path, sha256]) => lastOf(path, sha256) === undefined).map(([path]) => path);
}

function olderThan(
  generation: number,
  indexes: ReadonlyMap<string, string>,
  { lastOf }: FenceFacts,
): string | undefined {
  return [...indexes].find(([path, sha256]) => (lastOf(path, sha256) ?? generation) < generation)?.[0];
}
