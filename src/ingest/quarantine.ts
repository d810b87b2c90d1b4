/** Keeps what was refused, with the reason beside it, so that a builder's admin can look at it. */
import { join } from 'node:path';
import type { Reason } from '../store/batches.ts';
import { toInstant } from '../system/clock.ts';
import { makeDirectoryDurable, writeFileDurable } from '../system/durable.ts';
import type { Candidate } from './candidate.ts';

export interface RejectedBatch {
  readonly id: string;
  readonly builder: string;
  readonly reasons: readonly Reason[];
  readonly candidates: readonly Candidate[];
}

/** Writes `quarantine/<id>/reason.json` and moves the private copies of the rejected batch beside it, under their repositories' paths. */
export async function quarantineBatch(root: string, batch: RejectedBatch, nowMs: number): Promise<void> {
  const directory = join(root, 'quarantine', batch.id);
  await makeDirectoryDurable(directory, 0o750);
  const reason = { id: batch.id, builder: batch.builder, rejected_at: toInstant(nowMs), reasons: batch.reasons };
  await writeFileDurable(join(directory, 'reason.json'), `${JSON.stringify(reason, null, 1)}\n`, { mode: 0o640 });
  for (const candidate of batch.candidates) await candidate.quarantine(directory);
}
