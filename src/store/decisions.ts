/** What operators decided about held batches: each decision is kept, and covers exactly what was shown to whoever decided. */
import type { Reason } from './batches.ts';
import type { Database } from './database.ts';

export interface NewDecision {
  readonly batch: string;
  readonly builder: string;
  readonly decision: 'approved' | 'rejected';
  /** Who decided, as the command said. */
  readonly who: string;
  readonly why: string;
  readonly atMs: number;
  readonly indexes: readonly DecidedIndex[];
}

export interface DecidedIndex {
  readonly path: string;
  readonly sha256: string;
  /** The generation since which the index is served that this one was compared with. */
  readonly base: number | null;
  /** What was shown, and is so covered by the decision. */
  readonly reasons: readonly Reason[];
}

export interface Decision {
  readonly decision: 'approved' | 'rejected';
  readonly who: string;
  readonly why: string;
  readonly base: number | null;
  readonly reasons: readonly Reason[];
}

export class DecisionStore {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** The newest decision about the index with this digest at `path`. */
  find(path: string, sha256: string): Decision | null {
    const row = this.#db.get(
      `SELECT d.decision, d.who, d.why, r.base, r.reasons FROM decided_index r JOIN decision d ON d.id = r.decision
       WHERE r.path = ? AND r.sha256 = ? ORDER BY d.id DESC LIMIT 1`,
      path,
      sha256,
    );
    if (!row) return null;
    return {
      decision: row.decision as Decision['decision'],
      who: String(row.who),
      why: String(row.why),
      base: row.base === null ? null : Number(row.base),
      reasons: JSON.parse(String(row.reasons)) as Reason[],
    };
  }

  add({ batch, builder, decision, who, why, atMs, indexes }: NewDecision): void {
    this.#db.transaction(() => {
      const row = this.#db.get(
        'INSERT INTO decision (batch, builder, decision, who, why, at) VALUES (?, ?, ?, ?, ?, ?) RETURNING id',
        batch,
        builder,
        decision,
        who,
        why,
        atMs,
      );
      for (const { path, sha256, base, reasons } of indexes) {
        this.#db.run(
          'INSERT INTO decided_index (decision, path, sha256, base, reasons) VALUES (?, ?, ?, ?, ?)',
          Number(row?.id),
          path,
          sha256,
          base,
          JSON.stringify(reasons),
        );
      }
    });
  }
}
