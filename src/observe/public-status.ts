/**
 * Decides what anybody may know: which mirrors users can fetch from and how far each is behind. It has no paths, reasons, errors,
 * batches, builders or transports, and no mirror without a public address. Pure.
 */
import type { Propagation, RecentHistory } from './propagation.ts';
import { isPrivateHost } from './private-host.ts';
import { secondsUntil, spreadOf } from './spread.ts';
import { toInstant } from '../system/instant.ts';
import type { MirrorStatus, Status } from './status.ts';
import { isSilent } from './unanswered.ts';

/** `/public/status.json`, version 1 (public API: fields are added, never renamed). Instants are RFC 3339 in UTC. */
export interface PublicStatus {
  readonly version: 1;
  readonly generated_at: string;
  readonly generation: number;
  readonly published_at: string | null;
  readonly in_step: number;
  readonly mirrors: readonly PublicMirror[];
  /** The last ones, newest first. */
  readonly generations: readonly PublicGeneration[];
}

export interface PublicMirror {
  readonly name: string;
  readonly url: string;
  /** `unknown` also of one that has not answered for a while. */
  readonly state: 'in-step' | 'behind' | 'unknown';
  /** What its users get, as last seen over HTTP; as pushed where nobody looked yet; null: not known. */
  readonly generation: number | null;
  /** For how long its users lack something; null: not known. */
  readonly lag_seconds: number | null;
  /** When it last took something from us. */
  readonly last_success_at: string | null;
  /** When it last answered. */
  readonly checked_at: string | null;
}

export interface PublicGeneration {
  readonly generation: number;
  readonly published_at: string;
  readonly added: number;
  readonly removed: number;
  /** Mirrors that take something of it, and how many of these have it. */
  readonly mirrors: number;
  readonly reached: number;
  /** From publishing until half of the mirrors, 90 % of them, and the last of those that have it, had it. */
  readonly half_seconds: number | null;
  readonly most_seconds: number | null;
  readonly last_seconds: number | null;
}

export function publicStatus(
  status: Status,
  { propagation }: Pick<RecentHistory, 'propagation'>,
  nowMs: number,
): PublicStatus {
  const mirrors = status.mirrors.flatMap((mirror) => publicMirror(mirror, status.generation));
  const names = new Set(mirrors.map(({ name }) => name));
  return {
    version: 1,
    generated_at: toInstant(nowMs),
    generation: status.generation,
    published_at: status.published_at,
    in_step: mirrors.filter(({ state }) => state === 'in-step').length,
    mirrors,
    generations: propagation.map((generation) => publicGeneration(generation, names)),
  };
}

function publicMirror(mirror: MirrorStatus, newest: number): PublicMirror[] {
  const url = publicUrl(mirror.url);
  if (url === null) return [];
  const seen = mirror.observed_at !== null;
  // What was never published here has no age, and says nothing of what else there is.
  const isUnknown = mirror.observed_unknown_content;
  const generation = isUnknown ? null : seen ? mirror.observed_generation : mirror.generation;
  const lag = isUnknown || generation === null ? null : seen ? mirror.observed_lag_seconds : mirror.lag_seconds;
  const inStep = generation !== null && generation >= newest;
  return [
    {
      name: mirror.name,
      url,
      state: generation === null || isSilent(mirror) ? 'unknown' : inStep ? 'in-step' : 'behind',
      generation,
      lag_seconds: lag,
      last_success_at: mirror.last_success_at,
      checked_at: mirror.observed_at,
    },
  ];
}

/** Where users fetch from, without user, password, query and fragment; null: nowhere that everybody can reach. */
function publicUrl(url: string | null): string | null {
  if (url === null || !URL.canParse(url)) return null;
  const { protocol, host, hostname, pathname } = new URL(url);
  return (protocol === 'https:' || protocol === 'http:') && !isPrivateHost(hostname)
    ? `${protocol}//${host}${pathname}`
    : null;
}

function publicGeneration(generation: Propagation, names: ReadonlySet<string>): PublicGeneration {
  const spread = spreadOf({ ...generation, mirrors: generation.mirrors.filter(({ name }) => names.has(name)) });
  return {
    generation: generation.generation,
    published_at: generation.published_at,
    added: generation.added,
    removed: generation.removed,
    mirrors: spread.of,
    reached: spread.reached.length,
    half_seconds: secondsUntil(spread, 0.5),
    most_seconds: secondsUntil(spread, 0.9),
    last_seconds: spread.reached.at(-1)?.seconds ?? null,
  };
}
