/** Ties the commands of the control socket to the parts of the running daemon. */
import type { Config } from '../config/schema.ts';
import type { Quarantine } from '../ingest/quarantine.ts';
import { type StatusFacts, statusView } from '../observe/status.ts';
import type { Publisher } from '../publish/publisher.ts';
import type { Fleet } from './fleet.ts';
import type { Store } from '../store/store.ts';
import type { Clock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';
import type { Verifier } from '../trust/verify.ts';
import type { ControlDeps } from './control.ts';
import type { InboxParts } from './inboxes.ts';
import type { KeyKeeper } from './keys.ts';

export interface ControlledParts {
  /** The configuration as it is now. */
  readonly config: () => Config;
  readonly store: Store;
  readonly publisher: Publisher;
  readonly verifier: Verifier;
  readonly keys: KeyKeeper;
  readonly inboxes: ReadonlyMap<string, InboxParts>;
  readonly fleet: Fleet;
  readonly quarantine: Quarantine;
  readonly facts: () => StatusFacts;
  readonly clock: Clock;
  readonly log: Log;
  /** False until the last run is recovered, and once the daemon stops. */
  readonly ready: () => boolean;
  /** Says in one line what changed. */
  readonly reload: () => Promise<string>;
  readonly scrub: () => boolean;
  /** Tells the brokers of what is served now. */
  readonly announce: () => void;
}

/** Every closure looks at inboxes, mirrors and configuration as they are when it is called. */
export function controlDepsOf(parts: ControlledParts): ControlDeps {
  const { store, publisher, verifier, keys, inboxes, fleet, clock, log } = parts;
  const mirrorNames = (): string[] => fleet.names;
  return {
    store,
    clock,
    log,
    mirror: (name) => fleet.get(name),
    mirrorNames,
    openInbox: (builder) => inboxes.get(builder)?.service.open ?? null,
    wakeInbox: (builder) => inboxes.get(builder)?.service.wake(),
    reload: parts.reload,
    scrub: parts.scrub,
    explain: {
      store,
      quarantine: parts.quarantine,
      status: () => statusView(parts.facts(), clock.now()),
      mirrors: () => fleet.sources(),
      graceMs: () => parts.config().publish.graceMs,
    },
    operate: {
      ready: parts.ready,
      root: parts.config().root,
      store,
      publisher,
      verifier,
      clock,
      log,
      mirrorNames,
      reserveBytes: () => parts.config().reserveBytes,
      inboxOf: (builder) => {
        const config = parts.config().inboxes.find((inbox) => inbox.builder === builder);
        return config ? { config, keyring: keys.keyring(builder) } : null;
      },
      servedChanged: () => {
        fleet.wake();
        for (const { service } of inboxes.values()) service.reconsider();
        keys.wake();
        parts.announce();
      },
    },
  };
}
