/** Keeps two processes from working on one root or one state, the daemon and the commands that work while it does not run; opens the state for whoever may. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Config } from '../config/schema.ts';
import { holdLock } from '../store/database.ts';
import { openStoreAnyway, type Store } from '../store/store.ts';
import type { Clock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';

/** Held until disposed or until the process has ended. Throws OperationError STATE when another process holds one of the two. */
export function lockAll({ root, state }: Pick<Config, 'root' | 'state'>): Disposable {
  using locks = new DisposableStack();
  mkdirSync(state, { recursive: true, mode: 0o750 });
  locks.use(holdLock(join(state, '.lock'), `state ${state}`));
  locks.use(holdLock(join(root, '.lock'), `root ${root}`));
  return locks.move();
}

/** Opens the store of `state`, which must be locked; a damaged one is put aside for an empty one, and the log says so. */
export function openState(state: string, clock: Clock, log: Log): Store {
  return openStoreAnyway(state, clock.now(), (kept, detail) =>
    log.error('state_corrupt', { kept, detail, next: 'it is rebuilt from the trees' }),
  );
}
