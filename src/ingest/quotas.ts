/** Decides whether uploads ask for more than their inbox may bring, from what their indexes say and before a package is read. Pure. */
import type { Quotas } from '../config/quota-schema.ts';
import type { InboxConfig } from '../config/schema.ts';
import type { Reason } from '../store/batches.ts';
import type { Assessment } from './batch.ts';

/** What one open index brings that is not published in its repository yet. */
export interface Demand {
  readonly index: string;
  readonly repository: string;
  /** Sum of `S:`, in bytes. */
  readonly bytes: number;
  readonly largest: { readonly file: string; readonly bytes: number } | null;
}

/**
 * The same assessments, in which what would go out or be waited for is guarded where it is over a quota. Of what is too much
 * together the largest repositories are held until the rest fits: a small update need not wait for a mass that nobody expected.
 */
export function applyQuotas(
  assessments: readonly Assessment[],
  demands: readonly Demand[],
  { quotas, missingPackages }: Pick<InboxConfig, 'quotas' | 'missingPackages'>,
): Assessment[] {
  const byIndex = new Map(demands.map((demand) => [demand.index, demand]));
  const own = assessments.map((a) => guardedBy(a, fileProblem(byIndex.get(a.index), quotas)));
  const goes = (a: Assessment): boolean =>
    a.kind === 'closed' || (a.kind === 'incomplete' && missingPackages === 'publish');
  const inBatch = holdLargest(own, byIndex, goes, {
    what: 'the batch',
    key: 'max_batch',
    bytes: quotas.maxBatchBytes,
  });
  return holdLargest(inBatch, byIndex, isOpen, {
    what: 'the inbox',
    key: 'max_inbox',
    bytes: quotas.maxInboxBytes,
  });
}

interface Limit {
  readonly what: string;
  readonly key: string;
  readonly bytes: number;
}

function holdLargest(
  assessments: readonly Assessment[],
  demands: ReadonlyMap<string, Demand>,
  counts: (assessment: Assessment) => boolean,
  limit: Limit,
): Assessment[] {
  const counted = assessments.flatMap((a) => (counts(a) ? (demands.get(a.index) ?? []) : []));
  const sum = counted.reduce((bytes, demand) => bytes + demand.bytes, 0);
  let left = sum;
  const held = new Map<string, Reason>();
  for (const { index, repository, bytes } of counted.sort((a, b) => b.bytes - a.bytes)) {
    if (left <= limit.bytes) break;
    left -= bytes;
    const detail = `${bytes} bytes are new here, ${sum} in ${limit.what}, at most ${limit.bytes} (quotas.${limit.key}): raise it, or mend the upload`;
    held.set(index, { code: 'QUOTA', path: repository, detail });
  }
  return assessments.map((a) => guardedBy(a, held.get(a.index) ?? null));
}

/** What is refused or held already stays so. */
function guardedBy(assessment: Assessment, reason: Reason | null): Assessment {
  if (reason === null || !isOpen(assessment)) return assessment;
  const { repository, index, sha256, base, vanished } = assessment;
  return { repository, index, sha256, base, vanished, kind: 'guarded', reasons: [reason] };
}

function isOpen({ kind }: Assessment): boolean {
  return kind === 'closed' || kind === 'incomplete';
}

function fileProblem(demand: Demand | undefined, { maxFileBytes }: Quotas): Reason | null {
  if (!demand?.largest || demand.largest.bytes <= maxFileBytes) return null;
  const { file, bytes } = demand.largest;
  const detail = `${bytes} bytes, at most ${maxFileBytes} (quotas.max_file): raise it, or mend the upload`;
  return { code: 'QUOTA', path: `${demand.repository}/${file}`, detail };
}
