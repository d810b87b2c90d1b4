/** Mirrors in the store: what each one was last confirmed to hold and what a probe last saw there. */
import type { Database, Row } from './database.ts';
import { noteReached } from './reached.ts';

export interface MirrorRow {
  readonly name: string;
  /** The generation that the mirror was last confirmed to hold; null: unknown, a full comparison is due. */
  readonly confirmed: number | null;
  /** The generation whose indexes we brought there last; kept when what else the mirror holds is in doubt. */
  readonly serves: number | null;
  /** Everything up to this recall was removed from the mirror. */
  readonly recalled: number;
  /** Everything that expired up to this instant was removed from the mirror. */
  readonly prunedUntilMs: number;
  readonly lastSuccessAtMs: number | null;
  readonly observed: number | null;
  readonly observedAtMs: number | null;
  readonly unknownContent: boolean;
  /** A probe saw an index there that was never published here, is signed by a trusted key and is newer than ours. */
  readonly ahead: boolean;
  /** Since when we serve it in place of its first primary; null: we do not. */
  readonly takenOverAtMs: number | null;
  /** The packages of this generation are there, its indexes are not; null: nothing waits there. */
  readonly staged: number | null;
}

/** A sight that tells nothing new is written down this rarely: many mirrors are looked at each minute, and the disk shall rest. */
const sameSightMs = 10 * 60_000;

export class MirrorStore {
  readonly #db: Database;
  /** When a mirror was seen as it is on record, later than that says. */
  readonly #seenAgainAtMs = new Map<string, number>();

  constructor(db: Database) {
    this.#db = db;
  }

  /**
   * The mirror's row; `target` says where it is: at another place nothing is known of it. `part` says which repositories it
   * takes: of another part it is not known what it holds.
   */
  open(name: string, target: string, part = ''): MirrorRow {
    this.#db.run(
      `INSERT INTO mirror (name, target, part) VALUES (?, ?, ?)
       ON CONFLICT (name) DO UPDATE SET target = excluded.target, confirmed = NULL, serves = NULL, recalled = 0, pruned_until = 0, observed = NULL, observed_at = NULL, unknown_content = 0, ahead = 0, taken_over_at = NULL, staged = NULL
       WHERE target <> excluded.target`,
      name,
      target,
      part,
    );
    this.#db.run(
      'UPDATE mirror SET part = ?, confirmed = NULL, staged = NULL, observed = NULL, observed_at = NULL WHERE name = ? AND part <> ?',
      part,
      name,
      part,
    );
    return this.get(name);
  }

  /** The mirror is not looked at any more: what was seen says nothing of now. */
  unobserve(name: string): void {
    this.#db.run(
      'UPDATE mirror SET observed = NULL, observed_at = NULL, unknown_content = 0 WHERE name = ? AND observed_at IS NOT NULL',
      name,
    );
  }

  get(name: string): MirrorRow {
    const row = this.#db.get('SELECT * FROM mirror WHERE name = ?', name);
    if (!row) throw new RangeError(`no mirror ${name} in the store`);
    return this.#toMirror(row);
  }

  /** Every mirror that was ever opened, by name. */
  all(): ReadonlyMap<string, MirrorRow> {
    return new Map(this.#db.all('SELECT * FROM mirror').map((row) => [String(row.name), this.#toMirror(row)]));
  }

  /** The mirror holds `generation`, as far as we can tell. */
  confirm(name: string, generation: number, nowMs: number): void {
    this.#db.transaction(() => {
      this.#db.run(
        'UPDATE mirror SET confirmed = ?, serves = ?, staged = NULL, last_success_at = ? WHERE name = ?',
        generation,
        generation,
        nowMs,
        name,
      );
      noteReached(this.#db, 'confirmed', { mirror: name, generation, atMs: nowMs });
    });
  }

  /** What the mirror holds is not known any more. */
  doubt(name: string): void {
    this.#db.run('UPDATE mirror SET confirmed = NULL, staged = NULL WHERE name = ?', name);
  }

  /** The packages of `generation` are there. */
  staged(name: string, generation: number): void {
    this.#db.run('UPDATE mirror SET staged = ? WHERE name = ?', generation, name);
  }

  /** Null: the first primary serves it. */
  takenOver(name: string, sinceMs: number | null): void {
    this.#db.run('UPDATE mirror SET taken_over_at = ? WHERE name = ?', sinceMs, name);
  }

  pruned(name: string, untilMs: number): void {
    this.#db.run('UPDATE mirror SET pruned_until = ? WHERE name = ?', untilMs, name);
  }

  /** Everything up to `recall` is gone from the mirror. */
  recalled(name: string, recall: number): void {
    this.#db.run('UPDATE mirror SET recalled = ? WHERE name = ?', recall, name);
  }

  /** Of each repository the first generation after `generation`, up to `newest`, that changed an index of it or took one away. */
  changedAfter(generation: number, newest: number): { readonly repository: string; readonly generation: number }[] {
    return this.#db
      .all(
        `SELECT repository, MIN(number) AS first FROM (
           SELECT repository, since AS number FROM repository_index WHERE since > ?1 AND since <= ?2
           UNION ALL SELECT repository, until FROM repository_index WHERE until > ?1 AND until <= ?2)
         GROUP BY repository`,
        generation,
        newest,
      )
      .map((row) => ({ repository: String(row.repository), generation: Number(row.first) }));
  }

  /** What was seen of a mirror. Of what is on record only the time is new: that is known until the next restart, and written now and then. */
  observe(
    name: string,
    observation: { readonly generation: number | null; readonly unknownContent: boolean; readonly ahead?: boolean },
    nowMs: number,
  ): void {
    const { generation, unknownContent, ahead = false } = observation;
    const known = this.#db.get('SELECT * FROM mirror WHERE name = ?', name);
    const row = known && toMirror(known, undefined);
    const isSame = row?.observed === generation && row.unknownContent === unknownContent && row.ahead === ahead;
    const ageMs = nowMs - (row?.observedAtMs ?? Number.NEGATIVE_INFINITY);
    if (isSame && ageMs >= 0 && ageMs < sameSightMs) {
      this.#seenAgainAtMs.set(name, nowMs);
      return;
    }
    this.#db.transaction(() => {
      this.#db.run(
        'UPDATE mirror SET observed = ?, unknown_content = ?, ahead = ?, observed_at = ? WHERE name = ?',
        generation,
        unknownContent ? 1 : 0,
        ahead ? 1 : 0,
        nowMs,
        name,
      );
      if (generation !== null) noteReached(this.#db, 'observed', { mirror: name, generation, atMs: nowMs });
    });
    this.#seenAgainAtMs.delete(name);
  }

  #toMirror(row: Row): MirrorRow {
    return toMirror(row, this.#seenAgainAtMs.get(String(row.name)));
  }
}

function toMirror(row: Row, seenAgainAtMs: number | undefined): MirrorRow {
  return {
    name: String(row.name),
    confirmed: row.confirmed === null ? null : Number(row.confirmed),
    serves: row.serves === null ? null : Number(row.serves),
    recalled: Number(row.recalled),
    prunedUntilMs: Number(row.pruned_until),
    lastSuccessAtMs: row.last_success_at === null ? null : Number(row.last_success_at),
    observed: row.observed === null ? null : Number(row.observed),
    observedAtMs: row.observed_at === null ? null : (seenAgainAtMs ?? Number(row.observed_at)),
    unknownContent: Number(row.unknown_content) === 1,
    ahead: Number(row.ahead) === 1,
    takenOverAtMs: row.taken_over_at === null ? null : Number(row.taken_over_at),
    staged: row.staged === null ? null : Number(row.staged),
  };
}
