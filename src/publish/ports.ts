/** What publishing takes and gives: verified batches in, trees that may be read out. */
import type { IndexFileName } from '../apk/entry.ts';
import type { BatchExtent } from '../store/journal.ts';
import type { IndexFacts, Verified } from '../trust/verify.ts';

export interface PublisherOptions {
  readonly root: string;
  readonly graceMs: number;
  readonly keepTreesForMs: number;
  readonly maxTrees: number;
  readonly keepForMirrorsMs: number;
  readonly keepIndexesBytes: number;
  /** The name of this primary in the trace file; null: that of the host. */
  readonly primary?: string | null;
  /** `public` may be a plain directory, which the first switch puts aside. */
  readonly takesOver?: boolean;
  /** The largest served generation of which a start makes a whole tree anew, in packages. */
  readonly linksAtStart?: number;
}

/** What a publish takes: only what `verify` accepted can be put in here. */
export interface VerifiedChange {
  readonly repository: string;
  /** The name of the index in the directory of the repository. */
  readonly indexFile: IndexFileName;
  readonly candidate: number;
  /** The generation since which the repository had the index that the candidate was compared with; null: none. */
  readonly base: number | null;
  readonly index: Verified<IndexFacts>;
  /** Where the private copy of the index lies, relative to the root. */
  readonly indexSource: string;
  /** Whose inbox the index came from, when not from the batch's. */
  readonly builder?: string;
}

export interface VerifiedBatch extends BatchExtent {
  readonly id: string;
  readonly builder: string;
  readonly changes: readonly VerifiedChange[];
  /** The generation that was served when the batch was put together, for one that must not follow any other. */
  readonly follows?: number;
}

/** A tree that nobody changes until `release` is called. */
export interface Lease {
  readonly generation: number;
  /** Absolute path. */
  readonly directory: string;
  release(): void;
}
