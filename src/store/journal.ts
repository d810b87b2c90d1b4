/** The journal: what a publish is about to do, recorded before it is done, so that a crash at any point is finished or forgotten. */
import type { IndexFileName } from '../apk/entry.ts';
import { OperationError } from '../errors.ts';
import type { Database } from './database.ts';
import type { EventStore } from './events.ts';
import { type Generation, type IndexRow, type StageTimes, toGeneration } from './generations.ts';
import { pieceSize } from './staging-queries.ts';

export interface RepositoryChange {
  readonly repository: string;
  /** The candidate in the staging table whose rows become the repository's packages. */
  readonly candidate: number;
  /** The generation since which the repository had the index that the candidate was compared with. */
  readonly base: number | null;
  readonly index: Omit<IndexRow, 'repository' | 'since'> & {
    readonly description: string | null;
    /** Unix seconds. */
    readonly newestBuildTime: number | null;
  };
}

/** An index that leaves, with the packages that it names. */
export interface IndexRemoval {
  readonly repository: string;
  readonly file: IndexFileName;
  /** The generation since which it is served. */
  readonly base: number;
}

/** What a generation holds besides its changes. */
export interface BatchExtent {
  readonly removals: readonly IndexRemoval[];
  readonly times: StageTimes;
}

const changesOnly: BatchExtent = { removals: [], times: { settleMs: null, copyMs: null, verifyMs: null } };

export class Journal {
  readonly #db: Database;
  readonly #events: EventStore;

  constructor(db: Database, events: EventStore) {
    this.#db = db;
    this.#events = events;
  }

  /** A generation whose publishing was begun and not committed. */
  pending(): Generation | null {
    return toGeneration(this.#db.get("SELECT * FROM generation WHERE state = 'pending'"));
  }

  /** A generation whose recording was begun and not completed: of no use, to be forgotten. */
  unfinished(): number | null {
    const row = this.#db.get("SELECT number FROM generation WHERE state = 'preparing'");
    return row ? Number(row.number) : null;
  }

  /**
   * Records the intent to publish `generation`; visible to nobody as published until `commit`. Works in pieces and yields
   * between them; before the last piece the generation is not pending but unfinished. Throws OperationError STATE when a
   * repository is not any more what the candidate was compared with.
   */
  *begin(
    generation: Generation,
    changes: readonly RepositoryChange[],
    extent: BatchExtent = changesOnly,
  ): Generator<void, Generation> {
    const indexes = changes.map(({ repository, base, index }) => ({ repository, base, file: index.file }));
    for (const { repository, file, base } of [...indexes, ...extent.removals]) {
      if (this.#sinceOf(repository, file) === base) continue;
      throw new OperationError(
        'STATE',
        `${repository}: published by somebody else since it was compared: it is looked at again`,
      );
    }
    const steps = this.#record(generation, changes, extent);
    // An everyday batch is one transaction, and so one sync of the disk.
    const inOne =
      changes.every(({ candidate }) => this.#rows(candidate) <= pieceSize) &&
      extent.removals.every((removal) => this.#served(removal) <= pieceSize);
    for (;;) {
      const step = this.#db.transaction(() => (inOne ? toEnd(steps) : steps.next()));
      if (step.done === true) return step.value;
      yield;
    }
  }

  *#record(
    generation: Generation,
    changes: readonly RepositoryChange[],
    { removals, times }: BatchExtent,
  ): Generator<void, Generation> {
    const { number, publishedAtMs, tree, batch } = generation;
    this.#db.run(
      `INSERT INTO generation (number, state, published_at, tree, batch, added, removed, settle_ms, copy_ms, verify_ms)
       VALUES (?, 'preparing', ?, ?, ?, 0, 0, ?, ?, ?)`,
      number,
      publishedAtMs,
      tree,
      batch,
      times.settleMs,
      times.copyMs,
      times.verifyMs,
    );
    let removed = 0;
    let added = 0;
    for (const change of changes) {
      removed += yield* this.#removePackages(change, generation);
      added += yield* this.#addPackages(change, generation);
    }
    for (const removal of removals) removed += yield* this.#removeAll(removal, generation);
    for (const { repository, file } of removals) this.#endIndex(repository, file, generation);
    for (const change of changes) this.#replaceIndex(change, generation);
    this.#db.run(
      "UPDATE generation SET state = 'pending', added = ?, removed = ? WHERE number = ?",
      added,
      removed,
      number,
    );
    return { ...generation, added, removed };
  }

  /** The public link names this generation's tree: it is published, after `publishMs`, which is null when a crash lies between. */
  commit(generation: Generation, previousTree: string | null, nowMs: number, publishMs: number | null = null): void {
    this.#db.transaction(() => {
      this.#db.run(
        "UPDATE generation SET state = 'published', publish_ms = ? WHERE number = ?",
        publishMs,
        generation.number,
      );
      // A clock that was set back: what leaves now has left before the time up to which mirrors were pruned already.
      const { publishedAtMs } = generation;
      this.#db.run('UPDATE mirror SET pruned_until = ? WHERE pruned_until >= ?', publishedAtMs - 1, publishedAtMs);
      this.#db.run(
        'INSERT INTO tree (name, generation) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET generation = excluded.generation, left_at = NULL',
        generation.tree,
        generation.number,
      );
      if (previousTree !== null && previousTree !== generation.tree) {
        this.#db.run('UPDATE tree SET left_at = ? WHERE name = ?', nowMs, previousTree);
      }
      this.#db.run(
        "UPDATE batch SET state = 'published', generation = ?, updated_at = ? WHERE id = ?",
        generation.number,
        nowMs,
        generation.batch,
      );
      this.#events.add(nowMs, { event: 'published', generation: generation.number, batch: generation.batch });
    });
  }

  /** Takes back what `begin` recorded; may itself be broken off and done again. Yields between pieces. */
  *forget(number: number): Generator<void> {
    this.#db.transaction(() => {
      this.#db.run("UPDATE generation SET state = 'preparing' WHERE number = ? AND state = 'pending'", number);
      this.#db.run('DELETE FROM repository_index WHERE since = ?', number);
      this.#db.run('UPDATE repository_index SET until = NULL WHERE until = ?', number);
    });
    // First what came, then what left: two packages of one name are never current.
    const added = 'SELECT id FROM package WHERE added = ? LIMIT ?';
    while (this.#db.run(`DELETE FROM package WHERE id IN (${added})`, number, pieceSize).changes > 0) yield;
    const removed = 'SELECT id FROM package WHERE removed = ? LIMIT ?';
    while (
      this.#db.run(`UPDATE package SET removed = NULL, removed_at = NULL WHERE id IN (${removed})`, number, pieceSize)
        .changes > 0
    )
      yield;
    this.#db.run("DELETE FROM generation WHERE number = ? AND state = 'preparing'", number);
  }

  #sinceOf(repository: string, file: string): number | null {
    const row = this.#db.get(
      'SELECT since FROM repository_index WHERE repository = ? AND file = ? AND until IS NULL',
      repository,
      file,
    );
    return row ? Number(row.since) : null;
  }

  *#removePackages({ candidate }: RepositoryChange, generation: Generation): Generator<void, number> {
    let changes = 0;
    for (const [from, to] of this.#pieces('leaving', candidate)) {
      changes += this.#db.run(
        'UPDATE package SET removed = ?, removed_at = ? WHERE id IN (SELECT package FROM leaving WHERE id >= ? AND id < ? AND candidate = ?)',
        generation.number,
        generation.publishedAtMs,
        from,
        to,
        candidate,
      ).changes;
      yield;
    }
    return changes;
  }

  *#addPackages({ candidate, repository, index }: RepositoryChange, generation: Generation): Generator<void, number> {
    let changes = 0;
    for (const [from, to] of this.#pieces('staged', candidate)) {
      changes += this.#db.run(
        `INSERT INTO package
           (repository, index_file, file, name, version, identity, size, sha256, mtime, arch, signed_by, present, added, source)
         SELECT ?, ?, file, name, version, identity, size, sha256, mtime, package_arch, signed_by, state = 'ready', ?, source
         FROM staged WHERE id >= ? AND id < ? AND candidate = ?`,
        repository,
        index.file,
        generation.number,
        from,
        to,
        candidate,
      ).changes;
      yield;
    }
    return changes;
  }

  *#removeAll({ repository, file }: IndexRemoval, generation: Generation): Generator<void, number> {
    const some = 'SELECT id FROM package WHERE repository = ? AND index_file = ? AND removed IS NULL LIMIT ?';
    let changes = 0;
    for (;;) {
      const piece = this.#db.run(
        `UPDATE package SET removed = ?, removed_at = ? WHERE id IN (${some})`,
        generation.number,
        generation.publishedAtMs,
        repository,
        file,
        pieceSize,
      ).changes;
      changes += piece;
      if (piece < pieceSize) return changes;
      yield;
    }
  }

  #served({ repository, file }: IndexRemoval): number {
    const row = this.#db.get(
      'SELECT count(*) AS n FROM package WHERE repository = ? AND index_file = ? AND removed IS NULL',
      repository,
      file,
    );
    return Number(row?.n);
  }

  #rows(candidate: number): number {
    const count = (table: string): number =>
      Number(this.#db.get(`SELECT count(*) AS n FROM ${table} WHERE candidate = ?`, candidate)?.n);
    return count('staged') + count('leaving');
  }

  *#pieces(table: 'staged' | 'leaving', candidate: number): Generator<[number, number]> {
    const { low, high } =
      this.#db.get(`SELECT min(id) AS low, max(id) AS high FROM ${table} WHERE candidate = ?`, candidate) ?? {};
    for (let from = Number(low ?? 1); from <= Number(high ?? 0); from += pieceSize) yield [from, from + pieceSize];
  }

  #endIndex(repository: string, file: IndexFileName, generation: Generation): void {
    this.#db.run(
      'UPDATE repository_index SET until = ? WHERE repository = ? AND file = ? AND until IS NULL',
      generation.number,
      repository,
      file,
    );
  }

  #replaceIndex(change: RepositoryChange, generation: Generation): void {
    const { index } = change;
    this.#endIndex(change.repository, index.file, generation);
    this.#db.run(
      `INSERT INTO repository_index
         (repository, file, since, sha256, size, mtime, signed_by, signed_key, description, newest_build_time, packages, builder, source)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      change.repository,
      index.file,
      generation.number,
      index.sha256,
      index.size,
      index.mtimeSeconds,
      index.signedBy,
      index.signedKey ?? null,
      index.description,
      index.newestBuildTime,
      index.packages,
      index.builder,
      index.source,
    );
  }
}

function toEnd<T>(steps: Generator<void, T>): IteratorResult<void, T> {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step;
  }
}
