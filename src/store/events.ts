/**
 * What hooks are to be told: each event is written down in the transaction that makes it true, so no crash lies between. Each hook
 * has a place in the list; the newest events are kept, and what a hook then misses is counted.
 */
import type { HookEvent } from '../config/hooks-schema.ts';
import type { Reason } from './batches.ts';
import type { Database } from './database.ts';
import type { SavedState } from './mirror-states.ts';

export type BlockedBy = NonNullable<SavedState['blockedBy']>;

/** What is known at the moment of the event and may be otherwise when a hook is told. */
export type EventFacts =
  | { readonly event: 'published'; readonly generation: number; readonly batch: string }
  | {
      readonly event: 'held' | 'rejected';
      readonly batch: string;
      readonly builder: string;
      readonly repositories: readonly string[];
      /** The first ones. */
      readonly reasons: readonly Reason[];
      readonly reasonsTotal: number;
    }
  | {
      readonly event: 'mirror_blocked';
      readonly mirror: string;
      readonly blockedBy: BlockedBy;
      /** What it failed of; null when a person blocked it. */
      readonly reason: string | null;
      readonly detail: string;
    }
  | { readonly event: 'mirror_recovered'; readonly mirror: string; readonly generation: number | null };

export interface EventRow {
  /** Grows with time: the newest one is always kept. */
  readonly id: number;
  readonly atMs: number;
  readonly facts: EventFacts;
}

/** What a generation changed, for those who are told of it. */
export interface PublishedFacts {
  readonly builder: string | null;
  readonly added: number;
  readonly removed: number;
  /** Paths of the indexes that came, were replaced or left. */
  readonly indexes: readonly string[];
}

/** How many events are kept: a hook that is further behind misses the oldest. */
export const eventsKept = 1000;

export class EventStore {
  readonly #db: Database;
  #onAdded: () => void = () => {};

  constructor(db: Database) {
    this.#db = db;
  }

  /** `listener` is called whenever an event was added, before its transaction ends: it may only wake somebody. */
  listen(listener: () => void): void {
    this.#onAdded = listener;
  }

  /** To be called in the transaction that makes it true. */
  add(atMs: number, facts: EventFacts): void {
    this.#db.run(
      'INSERT INTO event (event, at, facts) VALUES (?, ?, ?)',
      facts.event,
      Math.round(atMs),
      JSON.stringify(facts),
    );
    const { last } = this.#db.get('SELECT max(id) AS last FROM event') ?? {};
    for (const old of this.#db.all('SELECT id, event FROM event WHERE id <= ?', Number(last) - eventsKept)) {
      this.#db.run(
        'UPDATE hook SET dropped = dropped + 1 WHERE told < ? AND EXISTS (SELECT 1 FROM json_each(events) WHERE value = ?)',
        Number(old.id),
        String(old.event),
      );
      this.#db.run('DELETE FROM event WHERE id = ?', Number(old.id));
    }
    this.#onAdded();
  }

  /** The hook is told of `events`; a new one of what comes from now on. */
  open(hook: string, events: readonly HookEvent[]): void {
    this.#db.run(
      `INSERT INTO hook (name, events, told) VALUES (?, ?, (SELECT coalesce(max(id), 0) FROM event))
       ON CONFLICT (name) DO UPDATE SET events = excluded.events`,
      hook,
      JSON.stringify(events),
    );
  }

  /** Others than these are forgotten. */
  keepOnly(hooks: readonly string[]): void {
    this.#db.run('DELETE FROM hook WHERE name NOT IN (SELECT value FROM json_each(?))', JSON.stringify(hooks));
  }

  /** The first event after `after` that the hook is to be told of; null when there is none. */
  next(hook: string, after: number): EventRow | null {
    const row = this.#db.get(
      `SELECT e.* FROM event e JOIN hook h ON h.name = ? WHERE e.id > max(h.told, ?)
         AND e.event IN (SELECT value FROM json_each(h.events)) ORDER BY e.id LIMIT 1`,
      hook,
      after,
    );
    if (!row) return null;
    return { id: Number(row.id), atMs: Number(row.at), facts: JSON.parse(String(row.facts)) as EventFacts };
  }

  /** The hook is done with everything up to `id`. */
  told(hook: string, id: number): void {
    this.#db.run('UPDATE hook SET told = ? WHERE name = ? AND told < ?', id, hook, id);
  }

  /** How many events the hook is still to be told of after `after`, and how many it has missed. */
  queueOf(hook: string, after: number): { readonly pending: number; readonly dropped: number } {
    const row = this.#db.get(
      `SELECT dropped, (SELECT count(*) FROM event e WHERE e.id > max(h.told, ?)
         AND e.event IN (SELECT value FROM json_each(h.events))) AS pending FROM hook h WHERE name = ?`,
      after,
      hook,
    );
    return { pending: Number(row?.pending ?? 0), dropped: Number(row?.dropped ?? 0) };
  }

  /** What hooks were told last: by whom or what the mirror is blocked; null: that it is not. */
  blockTold(mirror: string): BlockedBy | null {
    const row = this.#db.get('SELECT blocked_by FROM mirror_block_told WHERE mirror = ?', mirror);
    return row ? (row.blocked_by as BlockedBy) : null;
  }

  /** Adds the event of a block, or of its end. */
  addBlock(atMs: number, facts: Extract<EventFacts, { readonly mirror: string }>): void {
    this.#db.transaction(() => {
      this.add(atMs, facts);
      if (facts.event === 'mirror_recovered')
        this.#db.run('DELETE FROM mirror_block_told WHERE mirror = ?', facts.mirror);
      else
        this.#db.run(
          'INSERT OR REPLACE INTO mirror_block_told (mirror, blocked_by) VALUES (?, ?)',
          facts.mirror,
          facts.blockedBy,
        );
    });
  }

  /** What `generation` changed; null when it is not on record any more. */
  publishedFacts(generation: number): PublishedFacts | null {
    const row = this.#db.get(
      'SELECT g.added, g.removed, b.builder FROM generation g LEFT JOIN batch b ON b.id = g.batch WHERE g.number = ?',
      generation,
    );
    if (!row) return null;
    const indexes = this.#db.all(
      'SELECT DISTINCT repository, file FROM repository_index WHERE since = ?1 OR until = ?1 ORDER BY repository, file',
      generation,
    );
    return {
      builder: row.builder === null ? null : String(row.builder),
      added: Number(row.added),
      removed: Number(row.removed),
      indexes: indexes.map(({ repository, file }) => `${String(repository)}/${String(file)}`),
    };
  }
}
