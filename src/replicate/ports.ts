/** What a mirror's worker is given, and whom it tells what it does. */
import type { PushFailureReason } from '../errors.ts';
import type { Lease } from '../publish/ports.ts';
import type { Store } from '../store/store.ts';
import type { Clock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';

interface WorkerEvents {
  attempt(outcome: 'ok' | 'retryable' | 'permanent' | 'aborted'): void;
  failed(reason: PushFailureReason): void;
  bytes(count: number): void;
  /** The mirror was confirmed to hold `generation`. */
  confirmed(generation: number): void;
}

export interface WorkerDeps {
  readonly store: Store;
  /** The newest generation, kept as it is until released. */
  readonly lease: () => Lease | null;
  readonly graceMs: number;
  /** The name under which this primary publishes. */
  readonly primary?: string;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly events: WorkerEvents;
}
