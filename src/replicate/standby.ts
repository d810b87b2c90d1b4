/** Keeps a worker from its mirror while that is not its turn: another primary serves it. */
import type { PushPort } from './ports.ts';
import { wrapPush } from './wrap-push.ts';

/** `push`, of which nothing is due unless `mayPush`; a push by hand goes all the same. */
export function onlyWhen(mayPush: () => boolean, push: PushPort): PushPort {
  return wrapPush(push, { isDue: () => mayPush() && push.isDue() });
}
