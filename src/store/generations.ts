/** Generations in the store: what each one added and removed, which indexes it serves, which tree holds it. */
import type { Database, Row } from './database.ts';

export interface Generation {
  readonly number: number;
  readonly publishedAtMs: number;
  /** Name of the directory below `trees/` that holds it. */
  readonly tree: string;
  readonly batch: string;
  readonly added: number;
  readonly removed: number;
}

/** One repository's index over the generations in which it was (or is) current. */
export interface IndexRow {
  readonly repository: string;
  readonly since: number;
  readonly sha256: string;
  readonly size: number;
  readonly mtimeSeconds: number;
  readonly packages: number;
  readonly signedBy: string;
  readonly builder: string;
  /** Where its bytes lie before the generation is committed, relative to the root; afterwards null: in the trees. */
  readonly source: string | null;
}

/** One package file of one repository. */
export interface PackageRow {
  readonly id: number;
  readonly repository: string;
  readonly file: string;
  readonly size: number;
  readonly mtimeSeconds: number;
  readonly sha256: string;
  readonly source: string | null;
}

export interface RepositoryChange {
  readonly repository: string;
  /** The candidate in the staging table whose rows become the repository's packages. */
  readonly candidate: number;
  readonly index: Omit<IndexRow, 'repository' | 'since'> & { readonly description: string | null };
}

const pageSize = 1000;

export class GenerationStore {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** The newest published generation. */
  current(): Generation | null {
    return toGeneration(this.#db.get("SELECT * FROM generation WHERE state = 'published' ORDER BY number DESC LIMIT 1"));
  }

  /** A generation whose publishing was begun and not committed. */
  pending(): Generation | null {
    return toGeneration(this.#db.get("SELECT * FROM generation WHERE state = 'pending'"));
  }

  /** Publish time of `number` in milliseconds, null when there is no such generation. */
  publishedAt(number: number): number | null {
    const row = this.#db.get("SELECT published_at FROM generation WHERE number = ? AND state = 'published'", number);
    return row ? Number(row.published_at) : null;
  }

  /** Records the intent to publish `generation`; visible to nobody as published until `commit`. */
  begin(generation: Generation, changes: readonly RepositoryChange[]): Generation {
    return this.#db.transaction(() => {
      let removed = 0;
      let added = 0;
      for (const change of changes) {
        removed += this.#removePackages(change, generation);
        added += this.#addPackages(change, generation);
        this.#replaceIndex(change, generation);
      }
      const { number, publishedAtMs, tree, batch } = generation;
      this.#db.run(
        "INSERT INTO generation (number, state, published_at, tree, batch, added, removed) VALUES (?, 'pending', ?, ?, ?, ?, ?)",
        number,
        publishedAtMs,
        tree,
        batch,
        added,
        removed,
      );
      return { ...generation, added, removed };
    });
  }

  /** The public link names this generation's tree: it is published. */
  commit(generation: Generation, previousTree: string | null, nowMs: number): void {
    this.#db.transaction(() => {
      this.#db.run("UPDATE generation SET state = 'published' WHERE number = ?", generation.number);
      this.#db.run('UPDATE package SET source = NULL WHERE added = ? AND source IS NOT NULL', generation.number);
      this.#db.run('UPDATE repository_index SET source = NULL WHERE since = ? AND source IS NOT NULL', generation.number);
      this.setTree(generation.tree, generation.number, null);
      if (previousTree !== null && previousTree !== generation.tree) {
        this.#db.run('UPDATE tree SET left_at = ? WHERE name = ?', nowMs, previousTree);
      }
      this.#db.run("UPDATE batch SET state = 'published', generation = ?, updated_at = ? WHERE id = ?", generation.number, nowMs, generation.batch);
    });
  }

  /** Takes back what `begin` recorded. */
  forget(number: number): void {
    this.#db.transaction(() => {
      this.#db.run('DELETE FROM package WHERE added = ?', number);
      this.#db.run('UPDATE package SET removed = NULL, removed_at = NULL WHERE removed = ?', number);
      this.#db.run('DELETE FROM repository_index WHERE since = ?', number);
      this.#db.run('UPDATE repository_index SET until = NULL WHERE until = ?', number);
      this.#db.run("DELETE FROM generation WHERE number = ? AND state = 'pending'", number);
    });
  }

  /** How long each stage took, for the record of the generation. */
  recordStages(number: number, seconds: Readonly<Record<string, number>>): void {
    this.#db.run('UPDATE generation SET stages = ? WHERE number = ?', JSON.stringify(seconds), number);
  }

  /** The indexes that generation `at` serves. */
  indexesAt(at: number): IndexRow[] {
    return this.#db
      .all('SELECT * FROM repository_index WHERE since <= ? AND (until IS NULL OR until > ?) ORDER BY repository', at, at)
      .map(toIndexRow);
  }

  /** The current index of one repository. */
  indexOf(repository: string): IndexRow | null {
    const row = this.#db.get('SELECT * FROM repository_index WHERE repository = ? AND until IS NULL', repository);
    return row ? toIndexRow(row) : null;
  }

  /** The generations during which `repository` served the index with this digest; null when it never did. `last` null: still current. */
  rangeOf(repository: string, sha256: string): { first: number; last: number | null } | null {
    const row = this.#db.get(
      'SELECT since, until FROM repository_index WHERE repository = ? AND sha256 = ? ORDER BY since DESC LIMIT 1',
      repository,
      sha256,
    );
    return row ? { first: Number(row.since), last: row.until === null ? null : Number(row.until) - 1 } : null;
  }

  /** The generation in which a repository first appeared. */
  firstGenerationOf(repository: string): number | null {
    const row = this.#db.get('SELECT min(since) AS first FROM repository_index WHERE repository = ?', repository);
    return row?.first === null || row === undefined ? null : Number(row.first);
  }

  /** How many packages the current index of `repository` names that are there. */
  livePackages(repository: string): number {
    return Number(
      this.#db.get('SELECT count(*) AS n FROM package WHERE repository = ? AND removed IS NULL AND present = 1', repository)?.n,
    );
  }

  /**
   * What a tree at generation `from` lacks of generation `to`: every package that came in between and is not pruned yet,
   * those included that left again within the grace period. Oldest first, so that a later file of the same name wins.
   */
  *packagesForTree(from: number, to: number): Generator<readonly PackageRow[]> {
    yield* this.#pages('added > ? AND added <= ? AND present = 1 AND pruned = 0', [from, to]);
  }

  /** What a mirror at generation `from` lacks of `to`: only what generation `to` names. */
  *packagesForMirror(from: number, to: number): Generator<readonly PackageRow[]> {
    yield* this.#pages('added > ? AND added <= ? AND present = 1 AND (removed IS NULL OR removed > ?)', [from, to, to]);
  }

  /** Every package of one repository at generation `at`. */
  *packagesOf(repository: string, at: number): Generator<readonly PackageRow[]> {
    yield* this.#pages('repository = ? AND added <= ? AND present = 1 AND (removed IS NULL OR removed > ?)', [repository, at, at]);
  }

  /** True when generation `at`, or an index that left less than the grace period ago, needs the file. */
  isWanted(repository: string, file: string, at: number, keepAfterMs: number): boolean {
    return (
      this.#db.get(
        'SELECT 1 FROM package WHERE repository = ? AND file = ? AND present = 1 AND (removed IS NULL OR removed > ? OR removed_at > ?)',
        repository,
        file,
        at,
        keepAfterMs,
      ) !== undefined
    );
  }

  /** Paths whose last reason to be kept ended in (`sinceMs`, `untilMs`], at most one page; `next` continues the walk. */
  expired(sinceMs: number, untilMs: number, afterId: number): { readonly paths: readonly string[]; readonly next: number | null } {
    const rows = this.#db.all(
      `SELECT p.id, p.repository, p.file FROM package p
       WHERE p.removed IS NOT NULL AND p.removed_at > ? AND p.removed_at <= ? AND p.id > ?
         AND NOT EXISTS (SELECT 1 FROM package q WHERE q.repository = p.repository AND q.file = p.file AND q.id <> p.id
                         AND (q.removed IS NULL OR q.removed_at > ?))
       ORDER BY p.id LIMIT ?`,
      sinceMs,
      untilMs,
      afterId,
      untilMs,
      pageSize,
    );
    const last = rows.at(-1);
    return {
      paths: rows.map((row) => `${String(row.repository)}/${String(row.file)}`),
      next: rows.length === pageSize && last ? Number(last.id) : null,
    };
  }

  /** Everything that expired up to `untilMs` is gone from our trees. */
  markPruned(untilMs: number): void {
    this.#db.run('UPDATE package SET pruned = 1 WHERE pruned = 0 AND removed IS NOT NULL AND removed_at <= ?', untilMs);
  }

  /** Removal time of the earliest package that is not pruned yet. */
  earliestUnpruned(): number | null {
    const row = this.#db.get('SELECT min(removed_at) AS at FROM package WHERE removed IS NOT NULL AND pruned = 0');
    return row === undefined || row.at === null ? null : Number(row.at);
  }

  /** The trees that exist, with the generation each one has caught up to, and when it stopped being the served one. */
  trees(): { readonly name: string; readonly generation: number; readonly leftAtMs: number | null }[] {
    return this.#db.all('SELECT * FROM tree ORDER BY name').map((row) => ({
      name: String(row.name),
      generation: Number(row.generation),
      leftAtMs: row.left_at === null ? null : Number(row.left_at),
    }));
  }

  setTree(name: string, generation: number, leftAtMs: number | null): void {
    this.#db.run(
      'INSERT INTO tree (name, generation, left_at) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET generation = excluded.generation, left_at = excluded.left_at',
      name,
      generation,
      leftAtMs,
    );
  }

  *#pages(where: string, values: readonly (string | number)[]): Generator<readonly PackageRow[]> {
    let after = 0;
    for (;;) {
      const rows = this.#db.all(`SELECT * FROM package WHERE ${where} AND id > ? ORDER BY id LIMIT ?`, ...values, after, pageSize).map(toPackageRow);
      const last = rows.at(-1);
      if (last) yield rows;
      if (!last || rows.length < pageSize) return;
      after = last.id;
    }
  }

  #removePackages(change: RepositoryChange, generation: Generation): number {
    return this.#db.run(
      `UPDATE package SET removed = ?, removed_at = ? WHERE repository = ? AND removed IS NULL AND NOT EXISTS
         (SELECT 1 FROM staged s WHERE s.candidate = ? AND s.file = package.file AND s.wanted = 0)`,
      generation.number,
      generation.publishedAtMs,
      change.repository,
      change.candidate,
    ).changes;
  }

  #addPackages(change: RepositoryChange, generation: Generation): number {
    return this.#db.run(
      `INSERT INTO package (repository, file, name, identity, size, sha256, mtime, arch, signed_by, present, added, source)
       SELECT ?, file, name, identity, size, sha256, mtime, package_arch, signed_by, state = 'ready', ?, source
       FROM staged WHERE candidate = ? AND wanted = 1 ORDER BY file`,
      change.repository,
      generation.number,
      change.candidate,
    ).changes;
  }

  #replaceIndex(change: RepositoryChange, generation: Generation): void {
    const { index } = change;
    this.#db.run('UPDATE repository_index SET until = ? WHERE repository = ? AND until IS NULL', generation.number, change.repository);
    this.#db.run(
      `INSERT INTO repository_index (repository, since, sha256, size, mtime, signed_by, description, packages, builder, source)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      change.repository,
      generation.number,
      index.sha256,
      index.size,
      index.mtimeSeconds,
      index.signedBy,
      index.description,
      index.packages,
      index.builder,
      index.source,
    );
  }
}

function toGeneration(row: Row | undefined): Generation | null {
  if (!row) return null;
  return {
    number: Number(row.number),
    publishedAtMs: Number(row.published_at),
    tree: String(row.tree),
    batch: String(row.batch),
    added: Number(row.added),
    removed: Number(row.removed),
  };
}

function toIndexRow(row: Row): IndexRow {
  return {
    repository: String(row.repository),
    since: Number(row.since),
    sha256: String(row.sha256),
    size: Number(row.size),
    mtimeSeconds: Number(row.mtime),
    packages: Number(row.packages),
    signedBy: String(row.signed_by),
    builder: String(row.builder),
    source: row.source === null ? null : String(row.source),
  };
}

function toPackageRow(row: Row): PackageRow {
  return {
    id: Number(row.id),
    repository: String(row.repository),
    file: String(row.file),
    size: Number(row.size),
    mtimeSeconds: Number(row.mtime),
    sha256: String(row.sha256),
    source: row.source === null ? null : String(row.source),
  };
}
