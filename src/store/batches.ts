/** Batches in the store: what became of each upload, with reasons. */
import type { VerificationCode } from '../errors.ts';
import type { Database, Row } from './database.ts';
import type { EventStore } from './events.ts';

export type BatchState = 'waiting' | 'published' | 'held' | 'rejected';

export interface Reason {
  readonly code: VerificationCode;
  /** Repository, or `<repository>/<file>`. */
  readonly path: string;
  readonly detail: string;
}

export interface BatchRow {
  readonly id: string;
  readonly builder: string;
  readonly state: BatchState;
  readonly generation: number | null;
  readonly updatedAtMs: number;
  readonly repositories: readonly {
    readonly path: string;
    /** Path of the index. */
    readonly index: string;
    readonly sha256: string | null;
    /** The generation since which the repository has the index that it was compared with. */
    readonly base: number | null;
  }[];
  readonly reasons: readonly Reason[];
}

export interface NewBatch extends Omit<BatchRow, 'id' | 'generation'> {
  /** The same content gives the same key, so that a restart or a rescan finds the batch it knows. */
  readonly key: string;
}

/** Repositories and reasons of a batch of which hooks are told. */
const toldOfEach = 20;

export class BatchStore {
  readonly #db: Database;
  readonly #events: EventStore;

  constructor(db: Database, events: EventStore) {
    this.#db = db;
    this.#events = events;
  }

  /**
   * Records a batch in its present state, under the id it already has when the newest batch of that key is not published.
   * `changed` is false when state and reasons were known already, or when it is held for what it was held for before: a held batch
   * waits for a moment whenever something is uploaded.
   */
  record(batch: NewBatch): { readonly id: string; readonly changed: boolean } {
    return this.#db.transaction(() => {
      const { id, changed } = this.#record(batch);
      return { id, changed: changed && this.#tell(id, batch) };
    });
  }

  /** False when it is known already. */
  #tell(id: string, { state, builder, repositories, reasons, updatedAtMs }: NewBatch): boolean {
    if (state !== 'held' && state !== 'rejected') return true;
    const held = state === 'held' ? JSON.stringify([repositories, reasons]) : null;
    const { changes } = this.#db.run('UPDATE batch SET told = ? WHERE id = ? AND told IS NOT ?', held, id, held);
    if (held !== null && changes === 0) return false;
    this.#events.add(updatedAtMs, {
      event: state,
      batch: id,
      builder,
      repositories: [...new Set(repositories.map(({ path }) => path))].slice(0, toldOfEach),
      reasons: reasons.slice(0, toldOfEach),
      reasonsTotal: reasons.length,
    });
    return true;
  }

  #record(batch: NewBatch): { readonly id: string; readonly changed: boolean } {
    const known = this.#db.get(
      'SELECT * FROM batch WHERE key = ? ORDER BY created_at DESC, id DESC LIMIT 1',
      batch.key,
    );
    const reasons = JSON.stringify(batch.reasons);
    if (known && known.state !== 'published') {
      const repositories = JSON.stringify(batch.repositories);
      const changed = known.state !== batch.state || known.reasons !== reasons || known.repositories !== repositories;
      if (changed) {
        this.#db.run(
          'UPDATE batch SET state = ?, repositories = ?, reasons = ?, updated_at = ? WHERE id = ?',
          batch.state,
          repositories,
          reasons,
          batch.updatedAtMs,
          String(known.id),
        );
      }
      this.#db.run('UPDATE batch SET superseded = 0 WHERE id = ? AND superseded = 1', String(known.id));
      return { id: String(known.id), changed };
    }
    const id = this.#newId(batch);
    this.#db.run(
      'INSERT INTO batch (id, key, builder, state, created_at, updated_at, repositories, reasons) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
      id,
      batch.key,
      batch.builder,
      batch.state,
      batch.updatedAtMs,
      batch.updatedAtMs,
      JSON.stringify(batch.repositories),
      reasons,
    );
    return { id, changed: true };
  }

  get(id: string): BatchRow | null {
    const row = this.#db.get('SELECT * FROM batch WHERE id = ?', id);
    return row ? toBatch(row) : null;
  }

  /** What waits or is held now, and the newest `limit` that ended. */
  recent(limit: number): BatchRow[] {
    const open = this.#db.all(
      "SELECT * FROM batch WHERE state IN ('waiting', 'held') AND superseded = 0 ORDER BY updated_at DESC LIMIT 100",
    );
    const ended = this.#db.all(
      "SELECT * FROM batch WHERE state IN ('published', 'rejected') ORDER BY updated_at DESC, id DESC LIMIT ?",
      limit,
    );
    return [...open, ...ended].map(toBatch);
  }

  /**
   * Only the batches of these keys are open now: others of `builder` that waited are forgotten, held ones are not open any more. One
   * that waits for a moment is still a held one: together with what is uploaded it is for that moment part of another batch.
   */
  supersede(builder: string, openKeys: readonly string[]): void {
    const others = 'key NOT IN (SELECT value FROM json_each(?))';
    const keys = JSON.stringify(openKeys);
    this.#db.run(
      `UPDATE batch SET state = 'held', repositories = told -> 0, reasons = told -> 1
         WHERE builder = ? AND state = 'waiting' AND told IS NOT NULL AND ${others}`,
      builder,
      keys,
    );
    this.#db.run(`DELETE FROM batch WHERE builder = ? AND state = 'waiting' AND ${others}`, builder, keys);
    this.#db.run(
      `UPDATE batch SET superseded = 1 WHERE builder = ? AND state = 'held' AND superseded = 0 AND ${others}`,
      builder,
      keys,
    );
  }

  /** Only these builders have inboxes now: what was open of any other one is not open any more. */
  keepOpenOnlyOf(builders: readonly string[]): void {
    const others = 'builder NOT IN (SELECT value FROM json_each(?))';
    const names = JSON.stringify(builders);
    this.#db.run(`DELETE FROM batch WHERE state = 'waiting' AND ${others}`, names);
    this.#db.run(`UPDATE batch SET superseded = 1 WHERE state = 'held' AND superseded = 0 AND ${others}`, names);
  }

  /**
   * Forgets batches that were refused, and held ones that are not open any more: those older than `beforeMs`, and all but the
   * newest `keep`. One that still lies in its inbox is then recorded anew. Returns how many went.
   */
  forgetRefused(beforeMs: number, keep: number): number {
    const refused = "(state = 'rejected' OR (state = 'held' AND superseded = 1))";
    return this.#db.run(
      `DELETE FROM batch WHERE ${refused} AND (updated_at < ?
         OR id IN (SELECT id FROM batch WHERE ${refused} ORDER BY updated_at DESC, id DESC LIMIT -1 OFFSET ?))`,
      beforeMs,
      keep,
    ).changes;
  }

  #newId(batch: NewBatch): string {
    const stamp = new Date(batch.updatedAtMs).toISOString().slice(0, 19).replaceAll(/[-:]/g, '');
    const base = `${stamp}-${batch.builder}-${batch.key.slice(0, 8)}`;
    for (let n = 1; ; n++) {
      const id = n === 1 ? base : `${base}-${n}`;
      if (!this.#db.get('SELECT 1 FROM batch WHERE id = ?', id)) return id;
    }
  }
}

function toBatch(row: Row): BatchRow {
  return {
    id: String(row.id),
    builder: String(row.builder),
    state: row.state as BatchState,
    generation: row.generation === null ? null : Number(row.generation),
    updatedAtMs: Number(row.updated_at),
    repositories: JSON.parse(String(row.repositories)) as BatchRow['repositories'],
    reasons: JSON.parse(String(row.reasons)) as Reason[],
  };
}
