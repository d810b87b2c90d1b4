/** What an operator may tell a running daemon over its unix socket. */
import { ConfigError, messageOf } from '../errors.ts';
import type { ControlHandler } from '../observe/server.ts';
import type { Store } from '../store/store.ts';
import { writeProblemOf } from '../store/writable.ts';
import { type DecideDeps, decisionHandler } from './decide.ts';
import { explain, type ExplainDeps } from './explain.ts';
import { history, preview } from './inspect.ts';
import { type ControlledMirror, mirrorHandler, pushHandler } from './mirror-control.ts';
import { type OperateDeps, operationHandlers } from './operate.ts';

export interface ControlDeps extends DecideDeps {
  readonly store: Store;
  /** Null when there is no such mirror. */
  readonly mirror: (name: string) => ControlledMirror | null;
  readonly mirrorNames: () => readonly string[];
  /** Says in one line what changed. */
  readonly reload: () => Promise<string>;
  readonly operate: OperateDeps;
  readonly explain: ExplainDeps;
  /** False when a scrub runs already. */
  readonly scrub: () => boolean;
}

/** `push`, `mirror`, `approve`, `reject`, `preview`, `history`, `explain`, `reload`, `rollback`, `prune`, `recall` and `scrub`; an answer that is no document has a `message` of one line. */
export function controlHandlers(deps: ControlDeps): ReadonlyMap<string, ControlHandler> {
  return new Map<string, ControlHandler>([
    ['push', pushHandler(deps)],
    ['mirror', mirrorHandler(deps)],
    ['approve', decisionHandler(deps, 'approved')],
    ['reject', decisionHandler(deps, 'rejected')],
    ['preview', (body) => preview(deps, body)],
    ['history', async (body) => history(deps, body)],
    ['explain', (body) => explain(deps.explain, body)],
    ['reload', () => reload(deps)],
    ...operationHandlers(deps.operate),
    [
      'scrub',
      async () => {
        try {
          return answer(202, deps.scrub() ? 'scrub started; status shows how it goes' : 'a scrub runs already');
        } catch (error) {
          const problem = writeProblemOf(error);
          if (problem === null) throw error;
          return answer(503, `${problem}; no scrub was begun`);
        }
      },
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

async function reload(deps: ControlDeps): Promise<Answer> {
  try {
    return answer(200, await deps.reload());
  } catch (error) {
    return answer(error instanceof ConfigError ? 422 : 500, messageOf(error));
  }
}
