/** A push with some of its parts in other hands: what wraps one names only what it changes. */
import type { PushPort } from './ports.ts';

type Changes = Partial<Pick<PushPort, 'isDue' | 'push' | 'check'>>;

export function wrapPush(push: PushPort, changes: Changes): PushPort {
  return {
    transport: push.transport,
    isDue: () => push.isDue(),
    push: (signal) => push.push(signal),
    check: (signal) => push.check(signal),
    force: (wanted) => push.force(wanted),
    requireOurs: (signal) => push.requireOurs(signal),
    close: () => push.close(),
    ...changes,
    get progress() {
      return push.progress ?? null;
    },
  };
}
