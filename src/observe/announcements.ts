/** What is told about the brokers to which generations are announced: facts in, status and text out. Pure. */

export type BrokerState = 'in-sync' | 'behind' | 'connecting' | 'waiting' | 'blocked';

/** All times are milliseconds since the epoch, UTC. */
export interface BrokerFacts {
  readonly name: string;
  readonly url: string;
  readonly state: BrokerState;
  /** The generation that the broker was last told of; null: none. */
  readonly generation: number | null;
  readonly announcedAtMs: number | null;
  readonly nextAttemptAtMs: number | null;
  readonly lastError: string | null;
}

/** A broker in `/status.json`. */
export interface AnnouncementStatus {
  readonly name: string;
  readonly url: string;
  readonly state: BrokerState;
  readonly generation: number | null;
  readonly announced_at: string | null;
  readonly next_attempt_at: string | null;
  readonly last_error: string | null;
}

export function announcementView(
  broker: BrokerFacts,
  instant: (ms: number | null) => string | null,
): AnnouncementStatus {
  return {
    name: broker.name,
    url: broker.url,
    state: broker.state,
    generation: broker.generation,
    announced_at: instant(broker.announcedAtMs),
    next_attempt_at: instant(broker.nextAttemptAtMs),
    last_error: broker.lastError,
  };
}
