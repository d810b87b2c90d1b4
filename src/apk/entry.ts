/** One line of an index as the rest of the program sees it, and which names may become parts of a path. */

export interface IndexEntry {
  readonly name: string;
  readonly version: string;
  readonly arch: string;
  /**
   * What the index says of the package's content. v2: lower-case hex of the SHA-1 of the compressed control member (`C:`).
   * v3: `sha256:`, `sha512:` or `sha256-160:` and lower-case hex of that digest of the ADB payload.
   */
  readonly identity: string;
  /** `S:` in bytes. */
  readonly size: number;
  /** `t:` in unix seconds. */
  readonly buildTime: number | null;
  /** Where the package lies, relative to the directory of the index, if the index has a rule of its own (v3 `pkgname-spec`). */
  readonly file?: string;
}

/** The names under which a repository's index is found: v2, v3 (`v3 URL` of clients), and as OpenWrt names it (`ndx URL`). */
export const indexFileNames = ['APKINDEX.tar.gz', 'Packages.adb', 'packages.adb'] as const;
export type IndexFileName = (typeof indexFileNames)[number];

export function isIndexFileName(name: string): name is IndexFileName {
  return indexFileNames.some((known) => known === name);
}

/** True for the identity of a v3 package. */
export function isAdbIdentity(identity: string): boolean {
  return identity.includes(':');
}

/** The file name under which clients ask for a package: what the index says, or `<P>-<V>.apk`. */
export function packageFileName(entry: Pick<IndexEntry, 'name' | 'version' | 'file'>): string {
  return entry.file ?? `${entry.name}-${entry.version}.apk`;
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
