/** What the ingest of an inbox needs from the rest of the daemon, and what it tells it. */
import type { BatchState, Reason } from '../store/batches.ts';
import type { Generation } from '../store/generations.ts';
import type { Store } from '../store/store.ts';
import type { Clock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';
import type { Keyring } from '../trust/keyring.ts';
import type { Verifier } from '../trust/verify.ts';
import type { Assessment, ClosedBatch } from './batch.ts';
import type { Candidate } from './candidate.ts';
import type { Quarantine } from './quarantine.ts';

/** What waits in an inbox, is held or refused there, as it stands at the moment of each call. */
export interface OpenInbox {
  /** What would become of the index at `path`; null when it is not open. */
  assess(path: string): Assessment | null;
  /** The uploaded index at `path` that is not published; null when there is none. */
  candidate(path: string): Candidate | null;
}

interface IngestEvents {
  batchEnded(builder: string, state: Exclude<BatchState, 'waiting'>, reasons: readonly Reason[]): void;
  stage(stage: 'settle' | 'copy' | 'verify' | 'publish', seconds: number): void;
  rescanFound(count: number): void;
  /** Paths that are worth watching, absolute; true when some were not watched yet. */
  watch(paths: readonly string[]): boolean;
}

export interface IngestDeps {
  readonly root: string;
  readonly reserveBytes: number;
  /** True when another inbox of this configuration may publish that repository. */
  readonly isOfAnother: (repository: string) => boolean;
  readonly rescanMs: number;
  readonly store: Store;
  readonly verifier: Verifier;
  readonly keyring: () => Keyring;
  readonly quarantine: Pick<Quarantine, 'keep'>;
  readonly publish: (batch: ClosedBatch) => Promise<Generation>;
  readonly events: IngestEvents;
  readonly clock: Clock;
  readonly log: Log;
}
