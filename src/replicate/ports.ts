/** What a mirror's worker and its push are given, and whom they tell what they do. */
import type { QuietWindow } from '../config/quiet.ts';
import type { PushFailureReason } from '../errors.ts';
import type { Lease } from '../publish/ports.ts';
import type { SavedState } from '../store/mirror-states.ts';
import type { Store } from '../store/store.ts';
import type { Clock } from '../system/clock.ts';
import type { Files } from '../system/files.ts';
import type { Log } from '../system/log.ts';
import type { Vouch } from './fellow.ts';
import type { PushProgress } from './push-progress.ts';
import type { MirrorState } from './mirror.ts';
import type { TogetherPort } from './together.ts';
import type { Transport } from './transport.ts';

/** What a worker has done at its mirror. A failure is thrown: TransportError where it is known what to do. */
export interface PushPort {
  /** For errands: what other parts of the daemon do there between pushes. */
  readonly transport: Transport;
  /** True when there is something to bring or to take away. */
  isDue(): boolean;
  /** One whole push; returns the generation that the mirror now holds, null before the first one. What was done is not done again. */
  push(signal: AbortSignal): Promise<number | null>;
  /** The cheapest thing that tells whether a push has a chance. */
  check(signal: AbortSignal): Promise<void>;
  /** An operator has said that what is there may go, whatever it is: until a push has ended well. */
  force(): void;
  /** For an errand that replaces indexes. Throws TransportError when what lies there must stay, see fence.ts. */
  requireOurs(signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
  /** How far a push is that fills the mirror; null or absent: none such runs. */
  readonly progress?: PushProgress | null;
}

/** The memory of one worker beyond a restart. */
export interface StatePort {
  /** `changed`: the mirror's configuration is another one than when the state was saved. */
  load(): { readonly saved: SavedState | null; readonly changed: boolean };
  save(saved: SavedState | null): void;
}

/** Nothing of it needs a real timer or a disk. */
export interface WorkerDeps {
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly log: Log;
  readonly states: StatePort;
  readonly quiet: readonly QuietWindow[];
  /** What is due by time alone (a prune, the end of a quiet window that came early) is looked for this often. */
  readonly lookMs: number;
  /** The first try comes at any time within this span after the start. */
  readonly spreadMs: number;
  readonly events: {
    attempt(outcome: 'ok' | 'retryable' | 'permanent' | 'aborted'): void;
    failed(reason: PushFailureReason): void;
    /** Told of each state, the same one again and again too. */
    state?(state: MirrorState): void;
  };
}

export interface PushDeps {
  readonly store: Store;
  /** The newest generation, kept as it is until released. */
  readonly lease: () => Lease | null;
  readonly graceMs: number;
  /** True for a repository that the mirror takes. */
  readonly takes: (repository: string) => boolean;
  /** The name under which this primary publishes. */
  readonly primary?: string;
  /** Says of indexes that were never published here whose they are; absent: all of them are strange. */
  readonly vouch?: Vouch;
  /** Another primary writes there too: what only that one knows is left alone, see README. */
  readonly shared?: boolean;
  /** False: what has expired is for another primary to remove. */
  readonly prunes?: boolean;
  /** Absent: indexes follow their packages at once. */
  readonly together?: TogetherPort;
  readonly clock: Clock;
  /** Where the lease's directory lies; the disk. */
  readonly files?: Pick<Files, 'stat'>;
  readonly log: Log;
  readonly events: {
    bytes(count: number): void;
    /** The mirror was confirmed to hold `generation`. */
    confirmed(generation: number): void;
  };
}

/** The state of `mirror` in the store, beside the configuration that it was saved with. */
export function storedStates({ mirrorStates }: Pick<Store, 'mirrorStates'>, mirror: string, config: string): StatePort {
  return {
    load: () => {
      const found = mirrorStates.get(mirror);
      return { saved: found?.saved ?? null, changed: found !== null && found.config !== config };
    },
    save: (saved) => mirrorStates.save(mirror, config, saved),
  };
}
