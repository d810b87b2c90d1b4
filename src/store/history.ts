/** The history, newest first: every generation with what it changed and how long it took, every decision with who and why. */
import type { Reason } from './batches.ts';
import type { Database, Row } from './database.ts';

export type HistoryEntry =
  | {
      readonly kind: 'generation';
      readonly atMs: number;
      readonly number: number;
      readonly batch: string;
      readonly builder: string | null;
      readonly added: number;
      readonly removed: number;
      readonly indexes: readonly IndexStep[];
      /** Milliseconds; null where it was not measured. */
      readonly times: Readonly<Record<'settle' | 'copy' | 'verify' | 'publish', number | null>>;
      /** Who made it by going back, and why; null: an upload made it. */
      readonly rollback: {
        readonly to: number;
        readonly repository: string | null;
        readonly who: string;
        readonly why: string;
      } | null;
    }
  | {
      readonly kind: 'recall';
      readonly atMs: number;
      readonly id: number;
      readonly who: string;
      readonly why: string;
      /** What was asked for, and how many files that were. */
      readonly asked: string;
      readonly files: number;
    }
  | {
      readonly kind: 'decision';
      readonly atMs: number;
      readonly id: number;
      readonly batch: string;
      readonly builder: string;
      readonly decision: 'approved' | 'rejected';
      readonly who: string;
      readonly why: string;
      readonly indexes: readonly {
        readonly path: string;
        readonly sha256: string;
        readonly reasons: readonly Reason[];
      }[];
    };

export type GenerationEntry = HistoryEntry & { readonly kind: 'generation' };

export interface IndexStep {
  /** Path of the index. */
  readonly path: string;
  readonly change: 'added' | 'updated' | 'removed';
  /** Digest and key of the index that came, or of the one that left. */
  readonly sha256: string;
  readonly signedBy: string;
}

/** Where the history goes on: what is older than these. */
export interface HistoryCursor {
  readonly generation: number;
  readonly decision: number;
  readonly recall: number;
}

export const newestHistory: HistoryCursor = {
  generation: Number.MAX_SAFE_INTEGER,
  decision: Number.MAX_SAFE_INTEGER,
  recall: Number.MAX_SAFE_INTEGER,
};

export class HistoryStore {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** At most `limit` entries before the cursor; `next` is null when there are no more. */
  page(
    cursor: HistoryCursor,
    limit: number,
  ): { readonly entries: readonly HistoryEntry[]; readonly next: HistoryCursor | null } {
    const all = [
      ...this.#generations(cursor.generation, limit + 1),
      ...this.#decisions(cursor.decision, limit + 1),
      ...this.#recalls(cursor.recall, limit + 1),
    ];
    // Of one instant the generation is the newer: its batch was decided on before.
    all.sort((a, b) => b.atMs - a.atMs || (a.kind === 'generation' ? -1 : 1));
    const entries = all.slice(0, limit);
    if (all.length <= limit) return { entries, next: null };
    return {
      entries,
      next: {
        generation: Math.min(cursor.generation, ...entries.map((e) => (e.kind === 'generation' ? e.number : Infinity))),
        decision: Math.min(cursor.decision, ...entries.map((e) => (e.kind === 'decision' ? e.id : Infinity))),
        recall: Math.min(cursor.recall, ...entries.map((e) => (e.kind === 'recall' ? e.id : Infinity))),
      },
    };
  }

  /** The newest `limit` generations, newest first. */
  newest(limit: number): GenerationEntry[] {
    return this.#generations(newestHistory.generation, limit);
  }

  /** One published generation; null: it never was, or its record was lost. */
  generation(number: number): GenerationEntry | null {
    const [entry] = this.#generations(number + 1, 1);
    return entry?.number === number ? entry : null;
  }

  #generations(before: number, limit: number): GenerationEntry[] {
    return this.#db
      .all(
        `SELECT g.*, b.builder, r.target, r.repository AS only, r.who, r.why FROM generation g
         LEFT JOIN batch b ON b.id = g.batch LEFT JOIN rollback r ON r.batch = g.batch
         WHERE g.number < ? AND g.state = 'published' ORDER BY g.number DESC LIMIT ?`,
        before,
        limit,
      )
      .map((row) => ({
        kind: 'generation',
        atMs: Number(row.published_at),
        number: Number(row.number),
        batch: String(row.batch),
        builder: row.builder === null ? null : String(row.builder),
        added: Number(row.added),
        removed: Number(row.removed),
        indexes: this.#steps(Number(row.number)),
        times: {
          settle: numberOrNull(row.settle_ms),
          copy: numberOrNull(row.copy_ms),
          verify: numberOrNull(row.verify_ms),
          publish: numberOrNull(row.publish_ms),
        },
        rollback:
          row.target === null
            ? null
            : {
                to: Number(row.target),
                repository: row.only === null ? null : String(row.only),
                who: String(row.who),
                why: String(row.why),
              },
      }));
  }

  #steps(generation: number): IndexStep[] {
    const step = (change: IndexStep['change'], row: Row): IndexStep => ({
      path: `${String(row.repository)}/${String(row.file)}`,
      change,
      sha256: String(row.sha256),
      signedBy: String(row.signed_by),
    });
    const came = this.#db.all(
      `SELECT *, EXISTS (SELECT 1 FROM repository_index p WHERE p.repository = i.repository AND p.file = i.file AND p.until = i.since) AS known
       FROM repository_index i WHERE since = ? ORDER BY repository, file`,
      generation,
    );
    const left = this.#db.all(
      `SELECT * FROM repository_index i WHERE until = ? AND NOT EXISTS
         (SELECT 1 FROM repository_index n WHERE n.repository = i.repository AND n.file = i.file AND n.since = i.until) ORDER BY repository, file`,
      generation,
    );
    return [
      ...came.map((row) => step(row.known === 1 ? 'updated' : 'added', row)),
      ...left.map((row) => step('removed', row)),
    ];
  }

  #recalls(before: number, limit: number): HistoryEntry[] {
    return this.#db
      .all(
        `SELECT *, (SELECT count(*) FROM recalled_package p WHERE p.recall = r.id) AS files FROM recall r
         WHERE id < ? ORDER BY id DESC LIMIT ?`,
        before,
        limit,
      )
      .map((row) => ({
        kind: 'recall',
        atMs: Number(row.at),
        id: Number(row.id),
        who: String(row.who),
        why: String(row.why),
        asked: String(row.asked),
        files: Number(row.files),
      }));
  }

  #decisions(before: number, limit: number): HistoryEntry[] {
    return this.#db.all('SELECT * FROM decision WHERE id < ? ORDER BY id DESC LIMIT ?', before, limit).map((row) => ({
      kind: 'decision',
      atMs: Number(row.at),
      id: Number(row.id),
      batch: String(row.batch),
      builder: String(row.builder),
      decision: row.decision as 'approved' | 'rejected',
      who: String(row.who),
      why: String(row.why),
      indexes: this.#db
        .all('SELECT * FROM decided_index WHERE decision = ? ORDER BY path', Number(row.id))
        .map((r) => ({
          path: String(r.path),
          sha256: String(r.sha256),
          reasons: JSON.parse(String(r.reasons)) as Reason[],
        })),
    }));
  }
}

function numberOrNull(value: Row[string] | undefined): number | null {
  return value === null || value === undefined ? null : Number(value);
}
