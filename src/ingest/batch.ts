/** Decides what becomes of the changed repositories of one inbox: publish, wait, hold or reject. Pure: facts in, decision out. */
import type { IndexFileName } from '../apk/entry.ts';
import type { Reason } from '../store/batches.ts';
import type { BatchExtent } from '../store/journal.ts';
import type { IndexFacts, Verified } from '../trust/verify.ts';

/** What was found out about one repository whose index in the inbox is not the published one. */
export type Assessment = {
  readonly repository: string;
  /** Path of the index: a repository may have more than one. */
  readonly index: string;
  /** Digest of the index, null when it could not be read at all; of one that vanished, of the one that is served. */
  readonly sha256: string | null;
  /** The generation since which the repository has the index that this one was compared with; null: none. */
  readonly base: number | null;
  /** The index is not in the inbox any more. */
  readonly vanished: boolean;
} & (
  | { readonly kind: 'closed' }
  /** Nobody needs to be asked: the index leaves, if it does not come back until the inbox has settled. */
  | { readonly kind: 'leaving' }
  /** Signed index, packages missing or not there with the right size yet. */
  | { readonly kind: 'incomplete'; readonly reasons: readonly Reason[] }
  /** Something is wrong with content. */
  | { readonly kind: 'refused'; readonly reasons: readonly Reason[] }
  /** Everything is right, and a person must say yes. */
  | { readonly kind: 'guarded'; readonly reasons: readonly Reason[] }
);

/** What goes to the publisher: every file that its indexes name is a verified copy or published. */
export interface ClosedBatch extends BatchExtent {
  readonly id: string;
  readonly builder: string;
  readonly changes: readonly {
    readonly repository: string;
    readonly indexFile: IndexFileName;
    readonly candidate: number;
    readonly base: number | null;
    readonly index: Verified<IndexFacts>;
    readonly indexSource: string;
  }[];
}

export interface InboxFacts {
  /** An upload holds the lock of the inbox. */
  readonly uploading: boolean;
  /** Nothing that was found has changed for the settle time. */
  readonly settled: boolean;
  /** What lies there is all that belongs together, as far as anybody says what does. */
  readonly whole: boolean;
  readonly missingPackages: 'hold' | 'publish';
}

export interface BatchDecision {
  readonly publish: readonly Assessment[];
  readonly wait: readonly Assessment[];
  readonly hold: readonly Assessment[];
  readonly reject: readonly Assessment[];
}

/**
 * While an upload runs, everything waits. Afterwards closed repositories go out together at once, unless more is said to come;
 * anything else waits
 * until nothing has changed for the settle time, because a transfer without a visible lock may still be bringing it. The
 * indexes of one repository share a fate, that of the one which fares worst: clients of either see the same packages.
 */
export function planBatch(assessments: readonly Assessment[], facts: InboxFacts): BatchDecision {
  const fate = (a: Assessment): keyof BatchDecision => {
    if (facts.uploading) return 'wait';
    if (a.kind === 'closed') return facts.whole || facts.settled ? 'publish' : 'wait';
    if (!facts.settled) return 'wait';
    if (a.kind === 'leaving') return 'publish';
    if (a.kind === 'refused') return 'reject';
    return a.kind === 'incomplete' && facts.missingPackages === 'publish' ? 'publish' : 'hold';
  };
  const fates = new Map<string, keyof BatchDecision>();
  for (const assessment of assessments) {
    const known = fates.get(assessment.repository) ?? 'publish';
    fates.set(assessment.repository, worse(known, fate(assessment)));
  }
  const of = (wanted: keyof BatchDecision): Assessment[] =>
    assessments.filter((a) => fates.get(a.repository) === wanted);
  return { publish: of('publish'), wait: of('wait'), hold: of('hold'), reject: of('reject') };
}

/** What may still be mended comes first: it is waited for, whatever else is wrong. */
function worse(a: keyof BatchDecision, b: keyof BatchDecision): keyof BatchDecision {
  const order: readonly (keyof BatchDecision)[] = ['wait', 'reject', 'hold', 'publish'];
  return order.find((fate) => fate === a || fate === b) ?? 'publish';
}

/** The reasons of an assessment; one that nothing stands in the way of has none. */
export function reasonsOf(assessment: Assessment): readonly Reason[] {
  return assessment.kind === 'closed' || assessment.kind === 'leaving' ? [] : assessment.reasons;
}
