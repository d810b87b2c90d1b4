/** Mirrors in the store: what each one was last confirmed to hold and what a probe last saw there. */
import type { Database, Row } from './database.ts';

export interface MirrorRow {
  readonly name: string;
  /** The generation that the mirror was last confirmed to hold; null: unknown, a full comparison is due. */
  readonly confirmed: number | null;
  /** Everything that expired up to this instant was removed from the mirror. */
  readonly prunedUntilMs: number;
  readonly lastSuccessAtMs: number | null;
  readonly observed: number | null;
  readonly observedAtMs: number | null;
  readonly unknownContent: boolean;
}

export class MirrorStore {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** The mirror's row; `target` says where it is: at another place nothing is known of it. */
  open(name: string, target: string): MirrorRow {
    this.#db.run(
      `INSERT INTO mirror (name, target) VALUES (?, ?)
       ON CONFLICT (name) DO UPDATE SET target = excluded.target, confirmed = NULL, pruned_until = 0, observed = NULL, observed_at = NULL, unknown_content = 0
       WHERE target <> excluded.target`,
      name,
      target,
    );
    return this.get(name);
  }

  get(name: string): MirrorRow {
    const row = this.#db.get('SELECT * FROM mirror WHERE name = ?', name);
    if (!row) throw new RangeError(`no mirror ${name} in the store`);
    return toMirror(row);
  }

  /** The mirror holds `generation`, as far as we can tell. */
  confirm(name: string, generation: number, nowMs: number): void {
    this.#db.run('UPDATE mirror SET confirmed = ?, last_success_at = ? WHERE name = ?', generation, nowMs, name);
  }

  /** What the mirror holds is not known any more. */
  doubt(name: string): void {
    this.#db.run('UPDATE mirror SET confirmed = NULL WHERE name = ?', name);
  }

  pruned(name: string, untilMs: number): void {
    this.#db.run('UPDATE mirror SET pruned_until = ? WHERE name = ?', untilMs, name);
  }

  observe(
    name: string,
    observation: { readonly generation: number | null; readonly unknownContent: boolean },
    nowMs: number,
  ): void {
    this.#db.run(
      'UPDATE mirror SET observed = ?, unknown_content = ?, observed_at = ? WHERE name = ?',
      observation.generation,
      observation.unknownContent ? 1 : 0,
      nowMs,
      name,
    );
  }
}

function toMirror(row: Row): MirrorRow {
  return {
    name: String(row.name),
    confirmed: row.confirmed === null ? null : Number(row.confirmed),
    prunedUntilMs: Number(row.pruned_until),
    lastSuccessAtMs: row.last_success_at === null ? null : Number(row.last_success_at),
    observed: row.observed === null ? null : Number(row.observed),
    observedAtMs: row.observed_at === null ? null : Number(row.observed_at),
    unknownContent: Number(row.unknown_content) === 1,
  };
}
