/** What is on record of single packages, indexes and batches, for whoever asks what became of one. */
import type { BatchState, Reason } from './batches.ts';
import type { Database, Row, Value } from './database.ts';

/** A file that was published: the time in which the index of its repository named it, or was the served one. */
export interface StoredFile {
  readonly kind: 'package' | 'index';
  readonly repository: string;
  readonly file: string;
  /** The index that names it; itself where it is one. */
  readonly index: string;
  readonly package: { readonly name: string; readonly version: string; readonly arch: string | null } | null;
  readonly size: number;
  readonly sha256: string | null;
  readonly identity: string | null;
  /** The bytes are held here, or were until they were pruned. */
  readonly present: boolean;
  readonly pruned: boolean;
  readonly damaged: boolean;
  /** The key of the package's own signature; null: it has none, or nobody looked. */
  readonly signedBy: string | null;
  /** The generation that brought it, and the one that took it away; null: it is served. */
  readonly added: number;
  readonly removed: number | null;
}

/** A package of an upload that is open. */
export interface StagedFile {
  readonly candidate: number;
  readonly builder: string;
  readonly file: string;
  readonly name: string;
  readonly version: string;
  readonly state: 'missing' | 'present' | 'ready' | 'failed';
}

export interface StoredBatch {
  readonly id: string;
  readonly builder: string;
  readonly state: BatchState;
  /** It was held, and is not open any more. */
  readonly superseded: boolean;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
  readonly indexes: readonly { readonly path: string; readonly sha256: string | null }[];
  readonly reasons: readonly Reason[];
}

export interface StoredDecision {
  readonly decision: 'approved' | 'rejected';
  readonly who: string;
  readonly why: string;
  readonly atMs: number;
}

const matchesKept = 10_000;
/** Batches that are looked through for one that was refused. */
const batchesRead = 500;
const namesSuggested = 5;

export class StoryStore {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /**
   * Packages by the name of a package or of a file, with or without `.apk`, and indexes by their path, newest first; at most
   * `limit` of `total`. `repository` null: all. What a generation after `newest` changes is not out yet.
   */
  files(
    { repository, name }: { readonly repository: string | null; readonly name: string },
    newest: number,
    limit: number,
  ): { readonly files: readonly StoredFile[]; readonly total: number } {
    const places = JSON.stringify(repository === null ? this.#repositories() : [repository]);
    const among = 'FROM package WHERE repository IN (SELECT value FROM json_each(?1)) AND added <= ?3';
    const ids = this.#db.all(
      `SELECT id ${among} AND name = ?2 UNION SELECT id ${among} AND file IN (?2, ?2 || '.apk') ORDER BY id DESC LIMIT ${matchesKept}`,
      places,
      name,
      newest,
    );
    const packages = ids.slice(0, limit).map(({ id }) => this.#package(Number(id), newest));
    const indexes =
      repository === null
        ? []
        : this.#db.all(
            'SELECT * FROM repository_index WHERE repository = ? AND file = ? AND since <= ? ORDER BY since DESC LIMIT ?',
            repository,
            name,
            newest,
            matchesKept,
          );
    const files = [...packages, ...indexes.slice(0, limit).map((row) => toIndexFile(row, newest))];
    return { files: files.slice(0, limit), total: ids.length + indexes.length };
  }

  /** The first generation after `removed`, up to `newest`, that names a package file of that path again; null: none. */
  cameAgain(
    { repository, file }: Pick<StoredFile, 'repository' | 'file'>,
    removed: number,
    newest: number,
  ): number | null {
    const row = this.#db.get(
      'SELECT min(added) AS again FROM package WHERE repository = ? AND file = ? AND added >= ? AND added <= ?',
      repository,
      file,
      removed,
      newest,
    );
    return row === undefined || row.again === null ? null : Number(row.again);
  }

  /** Names of packages that begin with `text`, a few. */
  similar(text: string): string[] {
    const rows = this.#db.all(
      `SELECT DISTINCT name FROM package WHERE repository IN (SELECT value FROM json_each(?)) AND name >= ? AND name < ?
       ORDER BY name LIMIT ${namesSuggested}`,
      JSON.stringify(this.#repositories()),
      text,
      `${text}\u{10ffff}`,
    );
    return rows.map((row) => String(row.name));
  }

  /** Packages of uploads that are looked at, by the name of the package or of the file. */
  staged(name: string, limit: number): StagedFile[] {
    return this.#db
      .all("SELECT * FROM staged WHERE name = ?1 OR file IN (?1, ?1 || '.apk') ORDER BY id DESC LIMIT ?2", name, limit)
      .map((row) => ({
        candidate: Number(row.candidate),
        builder: String(row.builder),
        file: String(row.file),
        name: String(row.name),
        version: String(row.version),
        state: row.state as StagedFile['state'],
      }));
  }

  batch(id: string): StoredBatch | null {
    const row = this.#db.get('SELECT * FROM batch WHERE id = ?', id);
    return row ? toStoredBatch(row) : null;
  }

  /** The newest batches that are not published. */
  unpublished(): StoredBatch[] {
    return this.#batches("state <> 'published'");
  }

  /** Those of which a reason has `text` in it. */
  unpublishedWith(text: string): StoredBatch[] {
    return this.#batches("state <> 'published' AND instr(reasons, ?) > 0", JSON.stringify(text).slice(1, -1));
  }

  /** What was decided about a batch, oldest first. */
  decisions(batch: string): StoredDecision[] {
    return this.#db.all('SELECT * FROM decision WHERE batch = ? ORDER BY id', batch).map((row) => ({
      decision: row.decision as StoredDecision['decision'],
      who: String(row.who),
      why: String(row.why),
      atMs: Number(row.at),
    }));
  }

  /** The generation that a batch became; null: none. */
  generationOf(batch: string): number | null {
    const row = this.#db.get("SELECT number FROM generation WHERE batch = ? AND state = 'published'", batch);
    return row ? Number(row.number) : null;
  }

  #package(id: number, newest: number): StoredFile {
    const row = this.#db.get(
      `SELECT *, EXISTS (SELECT 1 FROM damaged d WHERE d.repository = p.repository AND d.file = p.file AND d.sha256 = p.sha256) AS damaged
       FROM package p WHERE id = ?`,
      id,
    );
    if (!row) throw new RangeError(`no package ${id} in the store`);
    const arch = textOrNull(row.arch);
    return {
      kind: 'package',
      repository: String(row.repository),
      file: String(row.file),
      index: String(row.index_file),
      package: { name: String(row.name), version: String(row.version), arch },
      size: Number(row.size),
      sha256: textOrNull(row.sha256),
      identity: String(row.identity),
      present: row.present === 1,
      pruned: row.pruned === 1,
      damaged: row.damaged === 1,
      signedBy: textOrNull(row.signed_by),
      added: Number(row.added),
      removed: numberUpTo(newest, row.removed),
    };
  }

  /** One step for each, however often each has changed. */
  #repositories(): string[] {
    const found: string[] = [];
    for (;;) {
      const row = this.#db.get(
        'SELECT min(repository) AS next FROM repository_index WHERE repository > ?',
        found.at(-1) ?? '',
      );
      if (row === undefined || row.next === null) return found;
      found.push(String(row.next));
    }
  }

  #batches(where: string, ...values: Value[]): StoredBatch[] {
    return this.#db
      .all(`SELECT * FROM batch WHERE ${where} ORDER BY updated_at DESC, id DESC LIMIT ${batchesRead}`, ...values)
      .map(toStoredBatch);
  }
}

function toIndexFile(row: Row, newest: number): StoredFile {
  return {
    kind: 'index',
    repository: String(row.repository),
    file: String(row.file),
    index: String(row.file),
    package: null,
    size: Number(row.size),
    sha256: String(row.sha256),
    identity: null,
    present: true,
    pruned: false,
    damaged: false,
    signedBy: null,
    added: Number(row.since),
    removed: numberUpTo(newest, row.until),
  };
}

function toStoredBatch(row: Row): StoredBatch {
  const indexes = JSON.parse(String(row.repositories)) as { index: string; sha256: string | null }[];
  return {
    id: String(row.id),
    builder: String(row.builder),
    state: row.state as BatchState,
    superseded: row.superseded === 1,
    createdAtMs: Number(row.created_at),
    updatedAtMs: Number(row.updated_at),
    indexes: indexes.map(({ index, sha256 }) => ({ path: index, sha256 })),
    reasons: JSON.parse(String(row.reasons)) as Reason[],
  };
}

function textOrNull(value: Row[string] | undefined): string | null {
  return value === null || value === undefined ? null : String(value);
}

function numberUpTo(newest: number, value: Row[string] | undefined): number | null {
  const number = value === null || value === undefined ? null : Number(value);
  return number !== null && number <= newest ? number : null;
}
