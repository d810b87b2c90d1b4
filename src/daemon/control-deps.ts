/** Ties the commands of the control socket to the parts of the running daemon. */
import type { Config } from '../config/schema.ts';
import type { Publisher } from '../publish/publisher.ts';
import type { MirrorWorker } from '../replicate/worker.ts';
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
  readonly mirrors: ReadonlyMap<string, { readonly worker: MirrorWorker }>;
  readonly clock: Clock;
  readonly log: Log;
  /** False until the last run is recovered, and once the daemon stops. */
  readonly ready: () => boolean;
  readonly reload: () => Promise<void>;
  readonly scrub: () => boolean;
  /** Tells the brokers of what is served now. */
  readonly announce: () => void;
}

/** Every closure looks at inboxes, mirrors and configuration as they are when it is called. */
export function controlDepsOf(parts: ControlledParts): ControlDeps {
  const { store, publisher, verifier, keys, inboxes, mirrors, clock, log } = parts;
  const mirrorNames = (): string[] => [...mirrors.keys()];
  return {
    store,
    clock,
    log,
    pushNow: (name) => {
      const found = mirrors.get(name);
      found?.worker.pushNow();
      return found !== undefined;
    },
    mirrorNames,
    openInbox: (builder) => inboxes.get(builder)?.service.open ?? null,
    wakeInbox: (builder) => inboxes.get(builder)?.service.wake(),
    reload: parts.reload,
    scrub: parts.scrub,
    operate: {
      ready: parts.ready,
      root: parts.config().root,
      store,
      publisher,
      verifier,
      clock,
      log,
      mirrorNames,
      inboxOf: (builder) => {
        const config = parts.config().inboxes.find((inbox) => inbox.builder === builder);
        return config ? { config, keyring: keys.keyring(builder) } : null;
      },
      servedChanged: () => {
        for (const { worker } of mirrors.values()) worker.wake();
        for (const { service } of inboxes.values()) service.reconsider();
        keys.wake();
        parts.announce();
      },
    },
  };
}
