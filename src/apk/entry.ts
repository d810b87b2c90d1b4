/** One line of an index as the rest of the program sees it, and which names may become parts of a path. */

export interface IndexEntry {
  readonly name: string;
  readonly version: string;
  readonly arch: string;
  /** Lower-case hex of the SHA-1 of the compressed control member (`C:`). */
  readonly identity: string;
  /** `S:` in bytes. */
  readonly size: number;
  /** `t:` in unix seconds. */
  readonly buildTime: number | null;
}

/** The names under which a repository's index is found (v2). */
export const indexFileNames = ['APKINDEX.tar.gz'] as const;

/** The file name under which clients ask for a package: `<P>-<V>.apk`. */
export function packageFileName(entry: Pick<IndexEntry, 'name' | 'version'>): string {
  return `${entry.name}-${entry.version}.apk`;
}

/** A package name that is safe as part of a file name (the rule of `apk mkpkg` for v3, needed for v2 too: i14, i53). */
export function isPackageName(name: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9._+-]*$/.test(name);
}

/** An architecture that is safe as one component of a path. */
export function isArch(arch: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9._+-]*$/.test(arch);
}

/** The longest file name that Linux file systems take, in bytes. */
export const maxFileNameBytes = 255;
