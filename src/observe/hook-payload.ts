/** Decides what a hook is told of an event: the JSON on its stdin (public API, version 1: fields are added, never renamed). Pure. */
import type { HookEvent } from '../config/hooks-schema.ts';
import type { Reason } from '../store/batches.ts';
import type { BlockedBy, EventFacts, EventRow, PublishedFacts } from '../store/events.ts';
import { toInstant } from '../system/instant.ts';

interface Head {
  readonly version: 1;
  readonly event: HookEvent;
  /** Grows with time; the same event has the same one when a hook is told again. */
  readonly id: number;
  /** RFC 3339, UTC. */
  readonly at: string;
  /** The name of this primary. */
  readonly primary: string;
  /** One line for people: a subject, a chat message. */
  readonly summary: string;
}

export type HookPayload = Head &
  (
    | ({ readonly generation: number; readonly batch: string } & PublishedFacts)
    | {
        readonly batch: string;
        readonly builder: string;
        readonly repositories: readonly string[];
        readonly reasons: readonly Reason[];
        readonly reasons_total: number;
      }
    | {
        readonly mirror: string;
        readonly blocked_by: BlockedBy;
        readonly reason: string | null;
        readonly detail: string;
      }
    | { readonly mirror: string; readonly generation: number | null }
  );

const summaryLength = 300;

/** `published`: what the generation changed; null when it is not on record any more. */
export function hookPayload(
  { id, atMs, facts }: EventRow,
  primary: string,
  published: PublishedFacts | null,
): HookPayload {
  const changes = published ?? { builder: null, added: 0, removed: 0, indexes: [] };
  const line = summaryOf(facts, changes);
  return {
    version: 1,
    event: facts.event,
    id,
    at: toInstant(atMs),
    primary,
    summary: line.length > summaryLength ? `${line.slice(0, summaryLength - 1)}…` : line,
    ...bodyOf(facts, changes),
  };
}

function bodyOf(facts: EventFacts, changes: PublishedFacts) {
  switch (facts.event) {
    case 'published':
      return { generation: facts.generation, batch: facts.batch, ...changes };
    case 'held':
    case 'rejected':
      return {
        batch: facts.batch,
        builder: facts.builder,
        repositories: facts.repositories,
        reasons: facts.reasons.map(({ code, path, detail }) => ({ code, path, detail })),
        reasons_total: facts.reasonsTotal,
      };
    case 'mirror_blocked':
      return { mirror: facts.mirror, blocked_by: facts.blockedBy, reason: facts.reason, detail: facts.detail };
    case 'mirror_recovered':
      return { mirror: facts.mirror, generation: facts.generation };
    default:
      return facts satisfies never;
  }
}

function summaryOf(facts: EventFacts, { added, removed }: PublishedFacts): string {
  switch (facts.event) {
    case 'published':
      return `generation ${facts.generation} is published: ${added} packages added, ${removed} removed`;
    case 'held':
    case 'rejected': {
      const [first] = facts.reasons;
      const why = first ? `: ${first.code} ${first.path}: ${first.detail}` : '';
      const more = facts.reasonsTotal > 1 ? ` (and ${facts.reasonsTotal - 1} more)` : '';
      return `batch ${facts.batch} of ${facts.builder} is ${facts.event}${why}${more}`;
    }
    case 'mirror_blocked':
      return facts.blockedBy === 'operator'
        ? `mirror ${facts.mirror} is blocked by hand: ${facts.detail}`
        : `mirror ${facts.mirror} is blocked: ${facts.reason ?? facts.blockedBy}: ${facts.detail}`;
    case 'mirror_recovered':
      return `mirror ${facts.mirror} has recovered${facts.generation === null ? '' : `: it holds generation ${facts.generation}`}`;
    default:
      return facts satisfies never;
  }
}
