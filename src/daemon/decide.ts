/** Approves or rejects a held batch: exactly what was shown of it, for exactly the indexes that it holds. */
import { z } from 'zod';
import { reasonsOf } from '../ingest/batch.ts';
import { guardCodes } from '../ingest/guards.ts';
import { reasonsKept } from '../ingest/ledger.ts';
import type { OpenInbox } from '../ingest/ports.ts';
import type { ControlHandler } from '../observe/server.ts';
import type { BatchRow, BatchStore, Reason } from '../store/batches.ts';
import type { DecidedIndex, DecisionStore } from '../store/decisions.ts';
import type { Clock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';

export interface DecideDeps {
  readonly store: { readonly batches: BatchStore; readonly decisions: DecisionStore };
  readonly clock: Clock;
  readonly log: Log;
  /** Null when no such builder is configured. */
  readonly openInbox: (builder: string) => OpenInbox | null;
  readonly wakeInbox: (builder: string) => void;
}

const textBytes = 1000;
const decisionBody = z.strictObject({
  batch: z.string(),
  who: z.string().min(1).max(textBytes),
  why: z.string().max(textBytes),
});

/** The handler of `approve` or `reject`. */
export function decisionHandler(deps: DecideDeps, decision: 'approved' | 'rejected'): ControlHandler {
  return async (body) => decide(deps, decision, body);
}

interface Answer {
  readonly status: number;
  readonly body: { readonly message: string };
}

function answer(status: number, message: string): Answer {
  return { status, body: { message } };
}

function decide(deps: DecideDeps, decision: 'approved' | 'rejected', body: unknown): Answer {
  const parsed = decisionBody.safeParse(body);
  if (!parsed.success)
    return answer(
      400,
      `a decision needs the id of a batch, who decides and why, of at most ${textBytes} characters each`,
    );
  const { batch: id, who, why } = parsed.data;
  const batch = deps.store.batches.get(id);
  if (!batch) return answer(404, `no batch ${id}: status lists the held ones`);
  if (batch.state !== 'held') return answer(409, `batch ${id} is ${batch.state}, only held ones can be decided`);
  const shown = shownOf(batch, deps.openInbox(batch.builder));
  if (shown === null)
    return answer(409, `batch ${id} is not what it was when it was held: see lockstepd preview and decide anew`);
  const indexes =
    decision === 'rejected' ? shown : shown.filter(({ reasons }) => reasons.length > 0 && reasons.every(isApprovable));
  const [unproven] = batch.reasons.filter((reason) => !isApprovable(reason));
  if (indexes.length === 0 && unproven !== undefined) {
    return answer(
      409,
      `batch ${id} is held for ${unproven.code} (${unproven.path}), which cannot be approved: the upload must be completed`,
    );
  }
  deps.store.decisions.add({ batch: id, builder: batch.builder, decision, who, why, atMs: deps.clock.now(), indexes });
  deps.log.info('batch_decided', { batch: id, decision, who, why, indexes: indexes.map((i) => i.path) });
  deps.wakeInbox(batch.builder);
  const rest = decision === 'approved' && unproven !== undefined ? `; ${unproven.path} must be completed first` : '';
  return answer(200, `batch ${id} ${decision}${rest}`);
}

/** What the record of the batch shows of each index; null when that is not how things stand now. */
function shownOf(batch: BatchRow, open: OpenInbox | null): DecidedIndex[] | null {
  const shown: DecidedIndex[] = [];
  for (const { index, sha256, base } of batch.repositories) {
    if (sha256 === null) continue;
    const now = open?.assess(index);
    if (!now || now.sha256 !== sha256 || now.base !== base) return null;
    const reasons = reasonsOf(now);
    const known = (reason: Reason): boolean =>
      // The record of a very large batch is cut off; its preview tells the rest.
      batch.reasons.length > reasonsKept ||
      batch.reasons.some((r) => r.code === reason.code && r.path === reason.path && r.detail === reason.detail);
    if (!reasons.every(known)) return null;
    shown.push({ path: index, sha256, base, reasons });
  }
  return shown;
}

function isApprovable({ code }: Reason): boolean {
  return guardCodes.some((guard) => guard === code);
}
