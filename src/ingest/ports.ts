/** What the ingest of an inbox needs from the rest of the daemon, and what it tells it. */
import type { BatchState, Reason } from '../store/batches.ts';
import type { Generation } from '../store/generations.ts';
import type { Store } from '../store/store.ts';
import type { Clock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';
import type { Keyring } from '../trust/keyring.ts';
import type { Verifier } from '../trust/verify.ts';
import type { ClosedBatch } from './batch.ts';
import type { Quarantine } from './quarantine.ts';

interface IngestEvents {
  batchEnded(builder: string, state: Exclude<BatchState, 'waiting'>, reasons: readonly Reason[]): void;
  stage(stage: 'settle' | 'copy' | 'verify' | 'publish', seconds: number): void;
  rescanFound(count: number): void;
  /** Paths that are worth watching, absolute; true when some were not watched yet. */
  watch(paths: readonly string[]): boolean;
}

export interface IngestDeps {
  readonly root: string;
  readonly maxRemovedPercent: number;
  readonly reserveBytes: number;
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
