/** Decides from the indexes that a mirror was seen to serve which generation its users get. Fetches nothing. */

/** What a mirror serves as the index of one repository, looked up by SHA-256 in our history. */
export type ServedIndex =
  /** `newer`: another primary's, by a trusted key, newer than ours. Else one of our indexes: the last generation that published it (the later one after a rollback), null for the present one. */
  { readonly lastGeneration: number | null } | 'unknown' | 'absent' | 'newer';

export interface RepositoryObservation {
  readonly path: string;
  readonly served: ServedIndex;
  /** The generation in which the repository first appeared. */
  readonly firstGeneration: number;
}

export interface Observation {
  /** The generation that the mirror's users get; 0 when it serves nothing yet; null when no index could be dated. */
  readonly generation: number | null;
  /** True when at least one index is not of our history: a mirror that was tampered with, or another writer. */
  readonly unknownContent: boolean;
  /** True when at least one index is newer than ours. */
  readonly ahead?: true;
}

/**
 * The newest generation g (up to `newest`) such that no served index is older than the one that g publishes. Content that
 * we never published has no age: it raises the flag and leaves the decision to the other repositories.
 */
export function observedGeneration(seen: readonly RepositoryObservation[], newest: number): Observation {
  const dated = seen.map((repository) => newestServed(repository, newest)).filter((g) => g !== null);
  return {
    generation: dated.length === 0 ? null : Math.min(...dated),
    unknownContent: seen.some((repository) => repository.served === 'unknown'),
    ...(seen.some((repository) => repository.served === 'newer') && { ahead: true }),
  };
}

/** True when each of `indexes`, those of one generation, is served with its very bytes, and no other index that was asked for is. */
export function holdsExactly(
  indexes: readonly { readonly repository: string; readonly file: string; readonly sha256: string }[],
  seen: ReadonlyMap<string, { readonly sha256: string } | object>,
): boolean {
  const wanted = new Map(indexes.map(({ repository, file, sha256 }) => [`${repository}/${file}`, sha256]));
  // An index that has left since is not asked for any more.
  return [...seen].every(([path, answer]) => ('sha256' in answer ? answer.sha256 : undefined) === wanted.get(path));
}

/** The newest generation for which this repository's index is not too old; null when it has no age. */
function newestServed({ served, firstGeneration }: RepositoryObservation, newest: number): number | null {
  if (served === 'unknown') return null;
  if (served === 'newer') return newest;
  if (served === 'absent') return Math.min(newest, firstGeneration - 1);
  return Math.min(newest, served.lastGeneration ?? newest);
}
