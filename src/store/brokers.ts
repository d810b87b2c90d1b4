/** MQTT brokers in the store: the generation that each one was last told of. */
import type { Database } from './database.ts';

export interface BrokerRow {
  /** Null: the broker was never told of any. */
  readonly announced: number | null;
  readonly announcedAtMs: number | null;
}

export class BrokerStore {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** `target` says where the broker is: another one was told of nothing. */
  open(name: string, target: string): void {
    this.#db.run(
      `INSERT INTO broker (name, target) VALUES (?, ?)
       ON CONFLICT (name) DO UPDATE SET target = excluded.target, announced = NULL, announced_at = NULL
       WHERE target <> excluded.target`,
      name,
      target,
    );
  }

  get(name: string): BrokerRow {
    const row = this.#db.get('SELECT announced, announced_at FROM broker WHERE name = ?', name);
    if (!row) throw new RangeError(`no broker ${name} in the store`);
    return {
      announced: row.announced === null ? null : Number(row.announced),
      announcedAtMs: row.announced_at === null ? null : Number(row.announced_at),
    };
  }

  /** The broker has acknowledged `generation`. */
  announced(name: string, generation: number, nowMs: number): void {
    this.#db.run('UPDATE broker SET announced = ?, announced_at = ? WHERE name = ?', generation, nowMs, name);
  }
}
