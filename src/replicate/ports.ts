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

/** Brings a mirror to the newest generation in another way than by putting files there. */
export interface Pusher {
  /** True when the mirror is known to lack something. */
  isDue(): boolean;
  /**
   * Returns the generation that the mirror now holds, at least the one that was the newest when the call began. Idempotent;
   * throws a TransportError, or the signal's reason once aborted.
   */
  push(signal: AbortSignal): Promise<number>;
  close(): Promise<void>;
}

export interface WorkerDeps {
  readonly store: Store;
  /** The newest generation, kept as it is until released. */
  readonly lease: () => Lease | null;
  readonly graceMs: number;
  /** Of a mirror that gets its files by itself: takes the place of putting them there. */
  readonly pusher?: Pusher | null;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly events: WorkerEvents;
}
