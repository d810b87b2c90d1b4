/** What mirrors failed of, until when each is left alone and what blocks it: what a restart must not forget. */
import type { FaultKind, PushFailureReason } from '../errors.ts';
import type { Database } from './database.ts';

export interface SavedState {
  /** In a row. */
  readonly failures: number;
  readonly lastFailure: {
    readonly kind: FaultKind;
    readonly reason: PushFailureReason;
    readonly message: string;
  } | null;
  readonly blockedBy: 'permanent' | 'security' | 'operator' | null;
  /** Why a person blocked it. */
  readonly note: string | null;
  /** The next try, milliseconds since the epoch; null: none, or as soon as there is something to do. */
  readonly untilMs: number | null;
}

export class MirrorStateStore {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Null when nothing is wrong with the mirror. `config` is the text that the state was saved with. */
  get(mirror: string): { readonly saved: SavedState; readonly config: string } | null {
    const row = this.#db.get('SELECT * FROM mirror_state WHERE mirror = ?', mirror);
    if (!row) return null;
    const saved: SavedState = {
      failures: Number(row.failures),
      lastFailure:
        row.reason === null
          ? null
          : {
              kind: String(row.kind) as FaultKind,
              reason: String(row.reason) as PushFailureReason,
              message: String(row.message),
            },
      blockedBy: row.blocked_by as SavedState['blockedBy'],
      note: row.note as SavedState['note'],
      untilMs: row.until === null ? null : Number(row.until),
    };
    return { saved, config: String(row.config) };
  }

  /** Null: nothing is wrong with it any more. */
  save(mirror: string, config: string, saved: SavedState | null): void {
    if (saved === null) {
      this.#db.run('DELETE FROM mirror_state WHERE mirror = ?', mirror);
      return;
    }
    const { failures, lastFailure, blockedBy, note, untilMs } = saved;
    this.#db.run(
      `INSERT OR REPLACE INTO mirror_state (mirror, config, failures, kind, reason, message, blocked_by, note, until)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      mirror,
      config,
      failures,
      lastFailure?.kind ?? null,
      lastFailure?.reason ?? null,
      lastFailure?.message ?? null,
      blockedBy,
      note,
      untilMs,
    );
  }
}
