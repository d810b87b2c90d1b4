/** The larger questions about a candidate: what it would take away, and whether another index of its directory is in its way. */
import { type IndexEntry, type IndexFileName, packageFileName } from '../apk/entry.ts';
import { undamaged } from './generations.ts';
import type { Database, Row } from './database.ts';

/** Rows that one statement changes: some ten milliseconds, so that the daemon stays responsive between two of them. */
export const pieceSize = 2000;

/** One index: a directory may hold several, each with packages of its own. */
export interface Place {
  readonly repository: string;
  readonly indexFile: IndexFileName;
}

/** How many present packages leave without a successor of the same name. Yields between pieces. */
export function* countRemovals(db: Database, candidate: number, place: Place): Generator<void, number> {
  const { low, high } =
    db.get('SELECT min(id) AS low, max(id) AS high FROM leaving WHERE candidate = ?', candidate) ?? {};
  let removals = 0;
  for (let from = Number(low ?? 1); from <= Number(high ?? 0); from += pieceSize) {
    const found = db.get(
      `SELECT count(*) AS n FROM leaving l WHERE l.id >= ? AND l.id < ? AND l.candidate = ? AND l.present = 1
         AND NOT EXISTS (SELECT 1 FROM staged s WHERE s.candidate = l.candidate AND s.name = l.name)
         AND NOT EXISTS (SELECT 1 FROM package p WHERE p.repository = ? AND p.index_file = ?
           AND p.name = l.name AND p.removed IS NULL
           AND NOT EXISTS (SELECT 1 FROM leaving k WHERE k.candidate = l.candidate AND k.package = p.id))`,
      from,
      from + pieceSize,
      candidate,
      place.repository,
      place.indexFile,
    );
    removals += Number(found?.n);
    yield;
  }
  return removals;
}

/**
 * A verified file of the candidate whose name another index of the directory gives to other bytes, published or staged by
 * one of the candidates `others`; null when there is none.
 */
export function findConflict(
  db: Database,
  candidate: number,
  { repository, indexFile }: Place,
  others: readonly number[],
): string | null {
  const found = db.get(
    `SELECT s.file AS file FROM staged s WHERE s.candidate = ? AND s.state = 'ready' AND (
       EXISTS (SELECT 1 FROM package p WHERE p.repository = ? AND p.file = s.file AND p.index_file <> ?
         AND p.removed IS NULL AND p.present = 1 AND p.sha256 <> s.sha256
         AND NOT EXISTS (SELECT 1 FROM leaving l WHERE l.package = p.id AND l.candidate IN (SELECT value FROM json_each(?))))
       OR EXISTS (SELECT 1 FROM staged o WHERE o.candidate IN (SELECT value FROM json_each(?)) AND o.file = s.file
         AND o.state = 'ready' AND o.sha256 <> s.sha256)) LIMIT 1`,
    candidate,
    repository,
    indexFile,
    JSON.stringify(others),
    JSON.stringify(others),
  );
  return found ? String(found.file) : null;
}

/** The bytes that all rows say they have, and the largest of them. */
export function demandOf(
  db: Database,
  candidate: number,
): { readonly bytes: number; readonly largest: { file: string; bytes: number } | null } {
  const sum = db.get('SELECT total(size) AS n FROM staged WHERE candidate = ?', candidate);
  const row = db.get('SELECT file, size FROM staged WHERE candidate = ? ORDER BY size DESC, file LIMIT 1', candidate);
  return { bytes: Number(sum?.n), largest: row ? { file: String(row.file), bytes: Number(row.size) } : null };
}

/** The row of a served package of `builder` with the identity, size, name, version and file name of `entry`, and the tree in which it lies. */
export function findPublished(db: Database, entry: IndexEntry, builder: string): Row | undefined {
  return db.get(
    `SELECT p.*, t.tree AS tree FROM package p
       JOIN repository_index i ON i.repository = p.repository AND i.file = p.index_file AND i.until IS NULL AND i.builder = ?
       JOIN (SELECT number, tree FROM generation WHERE state = 'published' ORDER BY number DESC LIMIT 1) t ON p.added <= t.number
       WHERE p.identity = ? AND p.size = ? AND p.file = ? AND p.name = ? AND p.version = ? AND p.removed IS NULL AND p.present = 1 AND p.sha256 IS NOT NULL
         AND ${undamaged('p')} LIMIT 1`,
    builder,
    entry.identity,
    entry.size,
    packageFileName(entry),
    entry.name,
    entry.version,
  );
}
