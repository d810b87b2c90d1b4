/** Keeps two processes from working on one root or one state: the daemon, and the commands that do its work while it does not run. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Config } from '../config/schema.ts';
import { holdLock } from '../store/database.ts';

/** Held until disposed or until the process has ended. Throws OperationError STATE when another process holds one of the two. */
export function lockAll({ root, state }: Pick<Config, 'root' | 'state'>): Disposable {
  using locks = new DisposableStack();
  mkdirSync(state, { recursive: true, mode: 0o750 });
  locks.use(holdLock(join(state, '.lock'), `state ${state}`));
  locks.use(holdLock(join(root, '.lock'), `root ${root}`));
  return locks.move();
}
