/** Gathers what a batch would change, one index at a time: out of the staging tables, for an operator who decides. */
import type { PackageChange, ChangeKind } from '../apk/changes.ts';
import { indexFileOf } from '../apk/entry.ts';
import type { Reason } from '../store/batches.ts';
import type { Changes } from '../store/changes.ts';
import type { Place } from '../store/staging-queries.ts';
import type { Store } from '../store/store.ts';
import { inPieces } from '../system/pieces.ts';
import { type Assessment, reasonsOf } from './batch.ts';
import type { OpenInbox } from './ports.ts';

export interface IndexPreview {
  /** Path of the index. */
  readonly path: string;
  /** What would become of it now. */
  readonly outcome: Assessment['kind'];
  readonly reasons: readonly Reason[];
  /** Null when the index would leave, or could not be read. */
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

/** What lies open under `path`, with at most `limit` names of each kind; null when `sha256` is not its digest any more. */
export async function previewIndex(
  open: OpenInbox,
  { path, sha256 }: { readonly path: string; readonly sha256: string | null },
  store: Store,
  limit: number,
): Promise<IndexPreview | null> {
  const candidate = open.candidate(path);
  const assessment = open.assess(path);
  if (assessment === null || assessment.sha256 !== sha256) return null;
  const place = { repository: assessment.repository, indexFile: indexFileOf(path) };
  let changes: Changes | null = null;
  if (assessment.vanished) changes = await inPieces(store.changes.ofRemoval(place, limit));
  else if (candidate?.facts) changes = await inPieces(store.changes.of(candidate.id, place, limit));
  // The inbox went on meanwhile: a candidate that was dropped has no rows any more.
  if (open.candidate(path) !== candidate) return null;
  return {
    path,
    outcome: assessment.kind,
    reasons: reasonsOf(assessment),
    index: candidate?.facts ?? null,
    served: servedIndex(store, place),
    bytesToCopy: candidate?.facts ? store.staging.bytesToCopy(candidate.id) : 0,
    missing: candidate?.facts ? store.staging.counts(candidate.id).missing : 0,
    changes: byKind(changes),
  };
}

function servedIndex(store: Store, { repository, indexFile }: Place): IndexPreview['served'] {
  const [row, age] = [store.generations.indexOf(repository, indexFile), store.generations.ageOf(repository, indexFile)];
  if (row === null || age === null) return null;
  const { sha256, since, packages } = row;
  const { description, newestBuildTime } = age;
  return { sha256, generation: since, packages, description, newestBuildTime };
}

function byKind(changes: Changes | null): IndexPreview['changes'] {
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
