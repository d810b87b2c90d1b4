/** What an operator may tell a mirror's worker over the unix socket: push now, stay away, go on. */
import { z } from 'zod';
import type { ControlHandler } from '../observe/server.ts';
import { blockOf, type MirrorState } from '../replicate/mirror.ts';
import type { Log } from '../system/log.ts';

/** The part of a worker that commands reach. */
interface ControlledWorker {
  readonly state: MirrorState;
  pushNow(options: { readonly force: boolean }): void;
  block(note: string): void;
  unblock(): void;
}

export interface ControlledMirror {
  /** Null for a mirror that pulls when it likes. */
  readonly worker: ControlledWorker | null;
}

interface MirrorControlDeps {
  /** Null when there is no such mirror. */
  readonly mirror: (name: string) => ControlledMirror | null;
  readonly mirrorNames: () => readonly string[];
  readonly log: Log;
}

const pushBody = z.strictObject({ mirror: z.string(), force: z.boolean().default(false) });
const text = z.string().max(1000);
const mirrorBody = z.strictObject({
  mirror: z.string(),
  action: z.enum(['block', 'unblock']),
  who: text.min(1),
  why: text,
});

type Answer = Awaited<ReturnType<ControlHandler>>;

export function pushHandler(deps: MirrorControlDeps): ControlHandler {
  return async (body) => {
    const parsed = pushBody.safeParse(body);
    if (!parsed.success) return answer(400, 'push needs the name of a mirror');
    const { mirror, force } = parsed.data;
    const found = deps.mirror(mirror);
    if (!found) return noMirror(deps, mirror);
    const { worker } = found;
    if (!worker) return pullsItself(mirror);
    const block = blockOf(worker.state);
    if (block?.by === 'operator')
      return answer(409, `${mirror} is blocked by hand (${block.note}): lockstepd mirror unblock ${mirror} first`);
    worker.pushNow({ force });
    deps.log.info('push_asked', { mirror, force });
    return answer(202, `push to ${mirror} started; status shows how it goes`);
  };
}

export function mirrorHandler(deps: MirrorControlDeps): ControlHandler {
  return async (body) => {
    const parsed = mirrorBody.safeParse(body);
    if (!parsed.success) return answer(400, 'mirror needs block or unblock, the name of a mirror, and who asks');
    const { mirror, action, who, why } = parsed.data;
    const found = deps.mirror(mirror);
    if (!found) return noMirror(deps, mirror);
    const { worker } = found;
    if (!worker) return pullsItself(mirror);
    if (action === 'unblock') {
      worker.unblock();
      deps.log.info('mirror_unblocked', { mirror, who });
      return answer(200, `${mirror} is not blocked any more: the next push is tried when it is due`);
    }
    worker.block(why === '' ? `by ${who}` : `by ${who}: ${why}`);
    deps.log.warn('mirror_blocked_by_hand', { mirror, who, why });
    return answer(200, `${mirror} is blocked: nothing is pushed there before lockstepd mirror unblock ${mirror}`);
  };
}

function noMirror({ mirrorNames }: MirrorControlDeps, mirror: string): Answer {
  return answer(404, `no mirror ${mirror}: the mirrors are ${mirrorNames().join(', ') || 'none'}`);
}

function pullsItself(mirror: string): Answer {
  return answer(409, `mirror ${mirror} pulls by itself: nobody can push to it or tell it to; ask its admin`);
}

function answer(status: number, message: string): Answer {
  return { status, body: { message } };
}
