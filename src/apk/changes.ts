/** Decides what happened to the packages of one name between two indexes: added, upgraded, downgraded, rebuilt, removed. Pure. */
import { compareVersions, newestVersion } from './version.ts';

export const changeKinds = ['added', 'upgraded', 'downgraded', 'rebuilt', 'removed'] as const;
export type ChangeKind = (typeof changeKinds)[number];

export interface PackageChange {
  readonly kind: ChangeKind;
  readonly name: string;
  /** Version before; null for what is added. */
  readonly from: string | null;
  /** Version afterwards; null for what is removed. */
  readonly to: string | null;
}

export interface PackageOfName {
  readonly version: string;
  readonly identity: string;
}

/**
 * What the two lists say, by the newest version on each side; the same version with another identity is a rebuild. `left` are
 * packages that left an earlier index and that clients may still hold: other bytes under their name are a rebuild too.
 */
export function changesOfName(
  name: string,
  before: readonly PackageOfName[],
  after: readonly PackageOfName[],
  left: readonly PackageOfName[],
): PackageChange[] {
  const rebuilt = after.filter((p) => {
    const known = [...before, ...left].filter((q) => q.version === p.version);
    return known.length > 0 && known.every((q) => q.identity !== p.identity);
  });
  const changes: PackageChange[] = rebuilt.map(({ version }) => ({
    kind: 'rebuilt',
    name,
    from: version,
    to: version,
  }));
  if (before.length > 0 && after.length > 0) {
    const from = newestVersion(before.map((p) => p.version));
    const to = newestVersion(after.map((p) => p.version));
    const order = compareVersions(to, from);
    if (order !== 0) return [...changes, { kind: order > 0 ? 'upgraded' : 'downgraded', name, from, to }];
  }
  const missingIn = (list: readonly PackageOfName[], p: PackageOfName): boolean =>
    !list.some((q) => q.version === p.version);
  for (const p of after)
    if (missingIn(before, p) && !rebuilt.includes(p)) changes.push({ kind: 'added', name, from: null, to: p.version });
  for (const p of before) if (missingIn(after, p)) changes.push({ kind: 'removed', name, from: p.version, to: null });
  return changes;
}
