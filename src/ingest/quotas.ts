/** Decides whether uploads ask for more than their inbox may bring, from what their indexes say and before a package is read. Pure. */
import type { Quotas } from '../config/quota-schema.ts';
import type { InboxConfig } from '../config/schema.ts';
import type { Reason } from '../store/batches.ts';
import type { Assessment } from './batch.ts';

/** What one open repository brings that is not published in it yet. */
export interface Demand {
  readonly repository: string;
  /** Sum of `S:`, in bytes. */
  readonly bytes: number;
  readonly largest: { readonly file: string; readonly bytes: number } | null;
}

/**
 * The same assessments, in which what would go out or be waited for is guarded where it is over a quota. A batch that is too
 * large is held whole: a part of it would not be the batch that the builder meant.
 */
export function applyQuotas(
  assessments: readonly Assessment[],
  demands: readonly Demand[],
  { quotas, missingPackages }: Pick<InboxConfig, 'quotas' | 'missingPackages'>,
): Assessment[] {
  const goes = (a: Assessment): boolean =>
    a.kind === 'closed' || (a.kind === 'incomplete' && missingPackages === 'publish');
  const own = assessments.map((assessment) => {
    const demand = demands.find((d) => d.repository === assessment.repository);
    return demand ? guardedBy(assessment, fileProblem(demand, quotas)) : assessment;
  });
  const going = demands.filter((d) => own.some((a) => a.repository === d.repository && goes(a)));
  const batch = going.reduce((sum, d) => sum + d.bytes, 0);
  const inbox = demands.reduce((sum, d) => sum + d.bytes, 0);
  return own.map((assessment) => {
    if (inbox > quotas.maxInboxBytes)
      return guardedBy(
        assessment,
        totalProblem(assessment, 'the inbox brings', inbox, quotas.maxInboxBytes, 'max_inbox'),
      );
    if (goes(assessment) && batch > quotas.maxBatchBytes)
      return guardedBy(
        assessment,
        totalProblem(assessment, 'the batch brings', batch, quotas.maxBatchBytes, 'max_batch'),
      );
    return assessment;
  });
}

/** What is refused or held already stays so. */
function guardedBy(assessment: Assessment, reason: Reason | null): Assessment {
  if (reason === null || (assessment.kind !== 'closed' && assessment.kind !== 'incomplete')) return assessment;
  return { repository: assessment.repository, sha256: assessment.sha256, kind: 'guarded', reasons: [reason] };
}

function fileProblem({ repository, largest }: Demand, { maxFileBytes }: Quotas): Reason | null {
  if (largest === null || largest.bytes <= maxFileBytes) return null;
  const detail = `${largest.bytes} bytes, at most ${maxFileBytes} (quotas.max_file): raise it, or mend the upload`;
  return { code: 'QUOTA', path: `${repository}/${largest.file}`, detail };
}

function totalProblem({ repository }: Assessment, what: string, bytes: number, limit: number, key: string): Reason {
  const detail = `${what} ${bytes} bytes that are new, at most ${limit} (quotas.${key}): raise it, or mend the upload`;
  return { code: 'QUOTA', path: repository, detail };
}
