/** Decides how a generation has spread over the mirrors, from when each of them had it. Pure. */
import type { Propagation } from './propagation.ts';

export interface SpreadMirror {
  readonly name: string;
  /** Whole seconds from publishing until the mirror was confirmed to have it, or was seen to serve it where nobody confirms. */
  readonly seconds: number;
  /** Whole seconds until it was seen to serve it; null: not seen. */
  readonly seenSeconds: number | null;
}

export interface Spread {
  /** Mirrors that take something of it. */
  readonly of: number;
  /** Those that have it, soonest first. */
  readonly reached: readonly SpreadMirror[];
  readonly missing: readonly string[];
}

export function spreadOf({ published_at: published, mirrors }: Propagation): Spread {
  const from = Date.parse(published);
  const after = (instant: string): number => Math.max(0, Math.round((Date.parse(instant) - from) / 1000));
  const reached: SpreadMirror[] = [];
  const missing: string[] = [];
  const taking = mirrors.filter(({ takes }) => takes);
  for (const { name, confirmed_at: confirmed, observed_at: observed } of taking) {
    const first = confirmed ?? observed;
    if (first === null) missing.push(name);
    else reached.push({ name, seconds: after(first), seenSeconds: observed === null ? null : after(observed) });
  }
  reached.sort((a, b) => a.seconds - b.seconds || (a.name < b.name ? -1 : 1));
  return { of: taking.length, reached, missing };
}

/** When the given share (0 to 1) of all mirrors had it, in seconds; null: so many do not have it yet. */
export function secondsUntil({ of, reached }: Spread, share: number): number | null {
  return of === 0 ? null : (reached[Math.ceil(of * share) - 1]?.seconds ?? null);
}
