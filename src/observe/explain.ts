/** Decides what is told of one package, index or batch: where it stands on each mirror, and why not further. Asks nobody. */
import type { PackageChange } from '../apk/changes.ts';
import type { BatchState, Reason } from '../store/batches.ts';
import type { Reached } from '../store/reached.ts';
import { toInstant } from '../system/clock.ts';
import { firstReached, type Propagation } from './propagation.ts';
import type { MirrorStatus } from './status.ts';
import { overdueText, turnText } from './words.ts';

/** What `explain` answers, version 1 (public API: fields are added, never renamed). Instants are RFC 3339 in UTC. */
export interface Explanation {
  readonly version: 1;
  readonly asked: string;
  /** The generation that is served; 0: none. */
  readonly generation: number;
  /** Newest first. */
  readonly stories: readonly Story[];
  /** How much was found; more than there are stories when the limit cut some off. */
  readonly matches: number;
}

export type Story = FileStory | UploadStory | BatchStory;

/** A package or an index that was published. */
export interface FileStory {
  readonly kind: 'package' | 'index';
  readonly path: string;
  readonly package: { readonly name: string; readonly version: string; readonly arch: string | null } | null;
  readonly size: number;
  readonly sha256: string | null;
  /**
   * `served`; `kept`: no served index names it, clients and mirrors may still ask for it; `pruned`; `replaced` (of an index);
   * `recalled`; `missing`: named, but never here; `damaged`: its bytes here are wrong.
   */
  readonly state: 'served' | 'kept' | 'pruned' | 'replaced' | 'recalled' | 'missing' | 'damaged';
  readonly builder: string | null;
  readonly batch: string | null;
  /** When anything of the upload was seen first, and when it changed last; null where nobody wrote it down. */
  readonly first_seen_at: string | null;
  readonly uploaded_at: string | null;
  readonly verified: {
    readonly at: string | null;
    /** The index that names it, and the key of that. */
    readonly index: string;
    readonly index_key: string | null;
    readonly index_key_sha256: string | null;
    /** The key of its own signature; null: it has none, or that was not asked for. */
    readonly package_key: string | null;
  };
  /** What a person decided about its batch. */
  readonly decisions: readonly DecisionStory[];
  readonly published: { readonly generation: number; readonly at: string | null };
  /** Only of what a rollback published again. */
  readonly rollback: RollbackStory | null;
  /** Null: it did not leave. */
  readonly left: {
    readonly generation: number;
    readonly at: string | null;
    /** Null: of an index. */
    readonly kept_until: string | null;
    /** The generation with which a file of that path came again; null: none, or of an index. */
    readonly again: number | null;
  } | null;
  readonly recall: { readonly at: string; readonly who: string; readonly why: string } | null;
  readonly mirrors: readonly MirrorStory[];
}

/** A package of a batch that is not published. */
export interface UploadStory {
  readonly kind: 'upload';
  readonly path: string;
  readonly builder: string;
  /** Null: it is looked at for the first time. */
  readonly batch: string | null;
  readonly state: StateOfBatch;
  /** Since when it is so. */
  readonly at: string | null;
  readonly first_seen_at: string | null;
  /** Those of the package and of its repository; of the whole batch where there are none. */
  readonly reasons: readonly Reason[];
  readonly quarantine: QuarantineStory | null;
}

/** `superseded`: it was held, and something else lies in the inbox now. */
type StateOfBatch = BatchState | 'superseded';

interface DecisionStory {
  readonly decision: 'approved' | 'rejected';
  readonly at: string;
  readonly who: string;
  readonly why: string;
}

type RollbackStory = NonNullable<Propagation['rollback']>;

interface QuarantineStory {
  /** Absolute. */
  readonly path: string;
  /** Room and number are limited too: it may go earlier. */
  readonly until: string;
}

export interface BatchStory {
  readonly kind: 'batch';
  readonly id: string;
  readonly builder: string | null;
  readonly state: StateOfBatch;
  readonly first_seen_at: string | null;
  readonly updated_at: string | null;
  readonly uploaded_at: string | null;
  readonly verified_at: string | null;
  readonly published: { readonly generation: number; readonly at: string } | null;
  readonly indexes: readonly {
    readonly path: string;
    /** Null: not published. */
    readonly change: 'added' | 'updated' | 'removed' | null;
    /** Null: it could not be read. */
    readonly sha256: string | null;
    /** Null: not published. */
    readonly signed_by: string | null;
  }[];
  /** Names of packages of which something changed, and the changes of the first of them; none before it is published. */
  readonly changed_names: number;
  readonly changes: readonly PackageChange[];
  readonly reasons: readonly Reason[];
  readonly decisions: readonly DecisionStory[];
  readonly rollback: RollbackStory | null;
  readonly quarantine: QuarantineStory | null;
  readonly mirrors: readonly MirrorStory[];
}

export interface MirrorStory {
  readonly name: string;
  /**
   * `there`; `not yet`; `left`: not in what it serves any more; `still there`: left here, not there; `not there`: left before it
   * came there; `not taken`: not in the mirror's part; `unknown`: what the mirror holds is not known.
   */
  readonly state: 'there' | 'not yet' | 'left' | 'still there' | 'not there' | 'not taken' | 'unknown';
  /** Since when it was confirmed and seen to have it; null: not yet, or so long ago that nobody wrote it down. */
  readonly confirmed_at: string | null;
  readonly observed_at: string | null;
  /** Since when it was confirmed to be without it. */
  readonly left_at: string | null;
  /** Why it is not further, or what its users get instead; null: all is as it should be. */
  readonly why: string | null;
}

export interface MirrorSight {
  readonly mirror: MirrorStatus;
  readonly takes: boolean;
  /** The times that are on record of this mirror. */
  readonly reached: readonly Reached[];
  /** Of earlier generations the times are not kept. */
  readonly firstOnRecord: number;
  /** Everything up to this recall was removed there. */
  readonly recalled: number;
}

/** A time in which the served indexes named something. */
export interface Served {
  /** The generation that brought it, and the one that took it away. */
  readonly added: number;
  readonly removed: number | null;
  /** The recall that took its file away; null: none. */
  readonly recall: number | null;
}

/** Where it stands on a mirror. */
export function mirrorStory(
  { mirror, takes, reached, firstOnRecord, recalled }: MirrorSight,
  { added, removed, recall }: Served,
): MirrorStory {
  const since = (generation: number | null): ReturnType<typeof firstReached> =>
    generation === null || generation < firstOnRecord
      ? { confirmedAtMs: null, observedAtMs: null }
      : firstReached(reached, generation);
  const [came, left] = [since(added), since(removed)];
  const isRecalled = recall === null ? null : recalled >= recall;
  const state = takes ? stateOf(heldBy(mirror), { added, removed, isRecalled }) : 'not taken';
  const isThere = state !== 'not taken' && state !== 'not yet' && state !== 'not there';
  return {
    name: mirror.name,
    state,
    confirmed_at: isThere ? instant(came.confirmedAtMs) : null,
    observed_at: state === 'not taken' ? null : instant(came.observedAtMs),
    left_at: state === 'left' ? instant(left.confirmedAtMs) : null,
    why: takes ? whyNot(mirror, state, removed ?? added) : null,
  };
}

/** A mirror that nobody ever reached holds nothing of ours; null: it may. */
function heldBy({ generation, last_success_at: success, observed_at: observed }: MirrorStatus): number | null {
  return generation === null && success === null && observed === null ? 0 : generation;
}

/** `isRecalled` null: nobody recalled it. */
function stateOf(
  held: number | null,
  { added, removed, isRecalled }: Omit<Served, 'recall'> & { readonly isRecalled: boolean | null },
): MirrorStory['state'] {
  if (isRecalled === true) return 'left';
  if (held === null) return 'unknown';
  if (removed !== null && held >= removed) return isRecalled === null ? 'left' : 'still there';
  if (held >= added) return removed === null && isRecalled === null ? 'there' : 'still there';
  return removed === null ? 'not yet' : 'not there';
}

function whyNot(mirror: MirrorStatus, state: MirrorStory['state'], wanted: number): string | null {
  if (state !== 'there' && state !== 'left') return whyBehind(mirror);
  if (mirror.observed_unknown_content) return unknownContent;
  const { observed_generation: observed } = mirror;
  return observed === null || observed >= wanted ? null : `its users still get generation ${observed}`;
}

const unknownContent = 'serves an index that was never published';

/** Why a mirror does not hold the newest generation, in one line, in the words of the status. */
export function whyBehind(mirror: MirrorStatus): string {
  const reasons = [
    mirror.observed_unknown_content ? unknownContent : null,
    turnText(mirror),
    overdueText(mirror),
    mirror.last_error !== null && mirror.state === 'pushing' ? `last time ${mirror.last_error}` : mirror.last_error,
  ].filter((text) => text !== null);
  return [standingText(mirror), reasons.join('; ')].filter((text) => text !== '').join(': ');
}

function standingText(mirror: MirrorStatus): string {
  const at = mirror.generation === null ? '' : ` at generation ${mirror.generation}`;
  switch (mirror.state) {
    case 'pushing':
      return `is pushed to now${at === '' ? '' : `, is${at}`}`;
    case 'blocked':
      // What a person said says that it is blocked, too.
      return mirror.blocked_by === 'operator' ? '' : 'blocked';
    case 'waiting': {
      const next = mirror.next_attempt_at === null ? '' : `, next try ${mirror.next_attempt_at}`;
      return `waits (${mirror.waits_for ?? 'for its turn'})${next}`;
    }
    case 'unknown':
      return mirror.last_success_at === null ? 'never reached yet' : 'what it holds is not known, it is compared next';
    case 'behind':
    case 'in-sync':
      if (mirror.transport !== 'pull') return `behind${at}`;
      return `pulls by itself, is${at}${mirror.next_sync_at === null ? '' : `, next about ${mirror.next_sync_at}`}`;
    default:
      return mirror.state satisfies never;
  }
}

function instant(ms: number | null): string | null {
  return ms === null ? null : toInstant(ms);
}
