/** What an operator may tell a running daemon over its unix socket. */
import { z } from 'zod';
import { ConfigError, messageOf } from '../errors.ts';
import type { ControlHandler } from '../observe/server.ts';
import type { Store } from '../store/store.ts';
import { type DecideDeps, decisionHandler } from './decide.ts';
import { history, preview } from './inspect.ts';
import { type OperateDeps, operationHandlers } from './operate.ts';

export interface ControlDeps extends DecideDeps {
  readonly store: Store;
  readonly pushNow: (mirror: string) => 'started' | 'pulls' | 'unknown';
  readonly mirrorNames: () => readonly string[];
  readonly reload: () => Promise<void>;
  readonly operate: OperateDeps;
  /** False when a scrub runs already. */
  readonly scrub: () => boolean;
}

const pushBody = z.strictObject({ mirror: z.string() });

/** `push`, `approve`, `reject`, `preview`, `history`, `reload`, `rollback`, `prune`, `recall` and `scrub`; an answer that is no document has a `message` of one line. */
export function controlHandlers(deps: ControlDeps): ReadonlyMap<string, ControlHandler> {
  return new Map<string, ControlHandler>([
    ['push', async (body) => push(deps, body)],
    ['approve', decisionHandler(deps, 'approved')],
    ['reject', decisionHandler(deps, 'rejected')],
    ['preview', (body) => preview(deps, body)],
    ['history', async (body) => history(deps, body)],
    ['reload', () => reload(deps)],
    ...operationHandlers(deps.operate),
    [
      'scrub',
      async () => answer(202, deps.scrub() ? 'scrub started; status shows how it goes' : 'a scrub runs already'),
    ],
  ]);
}

interface Answer {
  readonly status: number;
  readonly body: { readonly message: string };
}

function answer(status: number, message: string): Answer {
  return { status, body: { message } };
}

function push(deps: ControlDeps, body: unknown): Answer {
  const parsed = pushBody.safeParse(body);
  if (!parsed.success) return answer(400, 'push needs the name of a mirror');
  const { mirror } = parsed.data;
  const outcome = deps.pushNow(mirror);
  if (outcome === 'pulls')
    return answer(409, `mirror ${mirror} pulls by itself: nobody can push to it or tell it to; ask its admin`);
  if (outcome === 'unknown')
    return answer(404, `no mirror ${mirror}: the mirrors are ${deps.mirrorNames().join(', ') || 'none'}`);
  deps.log.info('push_asked', { mirror });
  return answer(202, `push to ${mirror} started; status shows how it goes`);
}

async function reload(deps: ControlDeps): Promise<Answer> {
  try {
    await deps.reload();
    return answer(200, 'reloaded');
  } catch (error) {
    return answer(error instanceof ConfigError ? 422 : 500, messageOf(error));
  }
}
