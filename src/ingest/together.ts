/** Decides whether everything that an upstream published together has arrived. Pure: its trace groups, and proves nothing. */
import type { Assessment } from './batch.ts';

/** How a trace compares with what is served and with what lies in the inbox. */
export interface Gathering {
  /** Indexes of the trace that are not served here with that digest. */
  readonly lacking: number;
  /** True when each of them lies in the inbox with all its packages, and nothing that could go out lies there unnamed. */
  readonly whole: boolean;
}

export interface GatheringFacts {
  /** Digest of the index that is served at that path; null: none. */
  readonly served: (path: string) => string | null;
  /** What is open in the inbox. */
  readonly open: readonly Assessment[];
}

/** `trace`: path of each index -> SHA-256. */
export function gather(trace: ReadonlyMap<string, string>, { served, open }: GatheringFacts): Gathering {
  const lacking = [...trace].filter(([path, sha256]) => served(path) !== sha256);
  const brought = new Map(open.filter((a) => !a.vanished).map((a) => [a.index, a]));
  const isThere = ([path, sha256]: readonly [string, string]): boolean => {
    const found = brought.get(path);
    return found?.sha256 === sha256 && found.kind !== 'incomplete';
  };
  // It belongs to another generation than the trace that lies there: to the next one, whose trace has not come yet.
  const strangers = [...brought.values()].some((a) => a.kind === 'closed' && trace.get(a.index) !== a.sha256);
  return { lacking: lacking.length, whole: !strangers && lacking.every(isThere) };
}
