/** Gathers what a batch would change, one repository at a time: out of the staging tables, for an operator who decides. */
import type { PackageChange, ChangeKind } from '../apk/changes.ts';
import type { Reason } from '../store/batches.ts';
import type { Changes } from '../store/changes.ts';
import type { Store } from '../store/store.ts';
import { inPieces } from '../system/pieces.ts';
import { type Assessment, reasonsOf } from './batch.ts';
import type { OpenInbox } from './ports.ts';

export interface RepositoryPreview {
  readonly path: string;
  /** What would become of it now. */
  readonly outcome: Assessment['kind'];
  readonly reasons: readonly Reason[];
  /** Null when the repository would leave, or when its index could not be read. */
  readonly index:
    | (IndexAgeView & { readonly sha256: string; readonly signedBy: string; readonly packages: number })
    | null;
  /** The index that is served now; null: none. */
  readonly served:
    | (IndexAgeView & { readonly sha256: string; readonly generation: number; readonly packages: number })
    | null;
  /** Bytes of packages that still have to be copied out of the inbox. */
  readonly bytesToCopy: number;
  /** Packages that the index names and that are not there. */
  readonly missing: number;
  readonly changes: Readonly<Record<ChangeKind, { readonly count: number; readonly first: readonly PackageChange[] }>>;
}

interface IndexAgeView {
  readonly description: string | null;
  /** Unix seconds. */
  readonly newestBuildTime: number | null;
}

/** What lies open under `path` with this index; at most `limit` names of each kind. Null when it is not there any more. */
export async function previewRepository(
  open: OpenInbox,
  path: string,
  store: Store,
  limit: number,
): Promise<RepositoryPreview | null> {
  const assessment = open.assessments.find((a) => a.repository === path);
  if (assessment === undefined) return null;
  const candidate = open.candidates.find((c) => c.repository === path);
  const leaves = assessment.vanished;
  if (!leaves && candidate === undefined) return null;
  const changes = await inPieces(
    leaves || candidate === undefined
      ? store.changes.ofRemoval(path, limit)
      : store.changes.of(candidate.id, path, candidate.facts === null ? 0 : limit),
  );
  const facts = leaves ? null : (candidate?.facts ?? null);
  return {
    path,
    outcome: assessment.kind,
    reasons: reasonsOf(assessment),
    index: facts && {
      sha256: facts.sha256,
      signedBy: facts.signedBy,
      packages: facts.packages,
      description: facts.description,
      newestBuildTime: facts.newestBuildTime,
    },
    served: servedIndex(store, path),
    bytesToCopy: candidate === undefined || facts === null ? 0 : store.staging.bytesToCopy(candidate.id),
    missing: candidate === undefined || facts === null ? 0 : store.staging.counts(candidate.id).missing,
    changes: byKind(facts === null && !leaves ? null : changes),
  };
}

function servedIndex(store: Store, path: string): RepositoryPreview['served'] {
  const [row, age] = [store.generations.indexOf(path), store.generations.ageOf(path)];
  if (row === null || age === null) return null;
  const { sha256, since, packages } = row;
  const { description, newestBuildTime } = age;
  return { sha256, generation: since, packages, description, newestBuildTime };
}

function byKind(changes: Changes | null): RepositoryPreview['changes'] {
  const of = (kind: ChangeKind): { count: number; first: readonly PackageChange[] } => ({
    count: changes?.counts[kind] ?? 0,
    first: changes?.first[kind] ?? [],
  });
  return {
    added: of('added'),
    upgraded: of('upgraded'),
    downgraded: of('downgraded'),
    rebuilt: of('rebuilt'),
    removed: of('removed'),
  };
}
