/** Keeps a worker from its mirror while that is not its turn: another primary serves it. */
import type { PushPort } from './ports.ts';

/** `push`, of which nothing is due unless `mayPush`; a push by hand goes all the same. */
export function onlyWhen(mayPush: () => boolean, push: PushPort): PushPort {
  return {
    transport: push.transport,
    isDue: () => mayPush() && push.isDue(),
    check: (signal) => push.check(signal),
    force: () => push.force(),
    requireOurs: (signal) => push.requireOurs(signal),
    close: () => push.close(),
    push: (signal) => push.push(signal),
  };
}
