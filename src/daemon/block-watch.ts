/** Writes down for hooks when a mirror is blocked and when it has recovered; each is told once, over restarts too. */
import { messageOf } from '../errors.ts';
import { blockEvent } from '../replicate/block-event.ts';
import type { MirrorState } from '../replicate/mirror.ts';
import type { BlockedBy } from '../store/events.ts';
import type { Store } from '../store/store.ts';
import type { Clock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';

interface BlockWatchDeps {
  readonly store: Pick<Store, 'events' | 'mirrors'>;
  readonly clock: Clock;
  readonly log: Log;
}

/** To be called with each state of the worker. Never throws: what cannot be written down is tried again with the next state. */
export function watchBlock(mirror: string, { store, clock, log }: BlockWatchDeps): (state: MirrorState) => void {
  let told: BlockedBy | null = store.events.blockTold(mirror);
  let failed = false;
  return (state) => {
    const facts = blockEvent(mirror, told, state, () => store.mirrors.get(mirror).confirmed);
    if (facts === null) return;
    try {
      store.events.addBlock(clock.now(), facts);
      told = facts.event === 'mirror_blocked' ? facts.blockedBy : null;
      failed = false;
      if (facts.event === 'mirror_recovered') log.info('mirror_recovered', { mirror, generation: facts.generation });
    } catch (error) {
      if (!failed) log.error('mirror_event_not_saved', { mirror, detail: messageOf(error) });
      failed = true;
    }
  };
}
