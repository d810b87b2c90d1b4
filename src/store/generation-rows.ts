/** Rows of the store as the values that the stages work with. */
import type { IndexFileName } from '../apk/entry.ts';
import type { Row } from './database.ts';
import type { IndexRow, PackageRow } from './generations.ts';

export function toIndexRow(row: Row): IndexRow {
  return {
    repository: String(row.repository),
    file: row.file as IndexFileName,
    since: Number(row.since),
    sha256: String(row.sha256),
    size: Number(row.size),
    mtimeSeconds: Number(row.mtime),
    packages: Number(row.packages),
    signedBy: String(row.signed_by),
    ...(row.signed_key === null ? {} : { signedKey: String(row.signed_key) }),
    builder: String(row.builder),
    source: row.fresh !== 1 || row.source === null ? null : String(row.source),
  };
}

export function toPackageRow(row: Row): PackageRow {
  return {
    id: Number(row.id),
    repository: String(row.repository),
    file: String(row.file),
    size: Number(row.size),
    mtimeSeconds: Number(row.mtime),
    sha256: row.sha256 === null ? null : String(row.sha256),
    source: row.source === null ? null : String(row.source),
    retained: row.removed !== null,
  };
}
