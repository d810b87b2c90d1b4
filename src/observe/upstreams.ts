/** Decides what is told of the upstreams of this host: what each says that it brought, and how much of that is served here. */

/** One inbox that is fed by another lockstepd. Nobody signs what it says of itself. */
export interface UpstreamFacts {
  readonly builder: string;
  /** The newest that it says to have brought; null when it says nothing. */
  readonly says: {
    readonly primary: string | null;
    readonly generation: number;
    readonly publishedAtMs: number;
    /** Indexes that it names and may bring here, and those that are not served here. */
    readonly named: number;
    readonly lacking: number;
  } | null;
  /** Our newest generation with an index of it; null when there is none. */
  readonly generation: number | null;
  readonly publishedAtMs: number | null;
}

export interface UpstreamStatus {
  readonly builder: string;
  readonly primary: string | null;
  /** In the numbers of the upstream, which are not ours. */
  readonly upstream_generation: number | null;
  readonly upstream_published_at: string | null;
  readonly indexes: number;
  readonly indexes_lacking: number;
  /** In our numbers: the newest generation with an index from there. */
  readonly generation: number | null;
  readonly published_at: string | null;
}

export function upstreamView(facts: UpstreamFacts, instant: (ms: number | null) => string | null): UpstreamStatus {
  const { builder, says } = facts;
  return {
    builder,
    primary: says?.primary ?? null,
    upstream_generation: says?.generation ?? null,
    upstream_published_at: instant(says?.publishedAtMs ?? null),
    indexes: says?.named ?? 0,
    indexes_lacking: says?.lacking ?? 0,
    generation: facts.generation,
    published_at: instant(facts.publishedAtMs),
  };
}
