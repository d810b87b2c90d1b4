/** What an operator may tell a running daemon over its unix socket. */
import { z } from 'zod';
import { ConfigError, messageOf } from '../errors.ts';
import type { ControlHandler } from '../observe/server.ts';
import type { BatchStore } from '../store/batches.ts';
import type { Clock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';

export interface ControlDeps {
  readonly batches: BatchStore;
  readonly clock: Clock;
  readonly log: Log;
  /** False when there is no such mirror. */
  readonly pushNow: (mirror: string) => boolean;
  readonly mirrorNames: () => readonly string[];
  readonly wakeInbox: (builder: string) => void;
  readonly reload: () => Promise<void>;
}

const pushBody = z.strictObject({ mirror: z.string() });
const decisionBody = z.strictObject({ batch: z.string(), who: z.string().min(1), why: z.string() });

/** `push`, `approve`, `reject` and `reload`; every answer has a `message` of one line. */
export function controlHandlers(deps: ControlDeps): ReadonlyMap<string, ControlHandler> {
  return new Map<string, ControlHandler>([
    ['push', async (body) => push(deps, body)],
    ['approve', async (body) => decide(deps, 'approved', body)],
    ['reject', async (body) => decide(deps, 'rejected', body)],
    ['reload', () => reload(deps)],
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
  if (!deps.pushNow(mirror))
    return answer(404, `no mirror ${mirror}: the mirrors are ${deps.mirrorNames().join(', ') || 'none'}`);
  deps.log.info('push_asked', { mirror });
  return answer(202, `push to ${mirror} started; status shows how it goes`);
}

function decide(deps: ControlDeps, decision: 'approved' | 'rejected', body: unknown): Answer {
  const parsed = decisionBody.safeParse(body);
  if (!parsed.success) return answer(400, 'a decision needs the id of a batch, who decides and why');
  const { batch: id, who, why } = parsed.data;
  const batch = deps.batches.get(id);
  if (!batch) return answer(404, `no batch ${id}: status lists the held ones`);
  if (batch.state !== 'held') return answer(409, `batch ${id} is ${batch.state}, only held ones can be decided`);
  const unproven = batch.reasons.find((r) => r.code !== 'MASS_REMOVAL');
  if (decision === 'approved' && unproven) {
    return answer(
      409,
      `batch ${id} is held for ${unproven.code} (${unproven.path}), which cannot be approved: the upload must be completed`,
    );
  }
  deps.batches.decide(batch, decision, who, why, deps.clock.now());
  deps.log.info('batch_decided', { batch: id, decision, who, why });
  deps.wakeInbox(batch.builder);
  return answer(200, `batch ${id} ${decision}`);
}

async function reload(deps: ControlDeps): Promise<Answer> {
  try {
    await deps.reload();
    return answer(200, 'reloaded');
  } catch (error) {
    return answer(error instanceof ConfigError ? 422 : 500, messageOf(error));
  }
}
