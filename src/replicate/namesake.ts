/** Decides whether another primary goes by our name: its trace says that it is ours, and was never published here. Pure. */
import type { Trace } from '../store/trace.ts';

export interface OwnPast {
  /** The name under which this primary publishes; null: it has none. */
  readonly primary: string | null;
  /** When our generation of this number came out; null: there is no record of one. */
  readonly publishedAtOf: (generation: number) => number | null;
}

/** Content proves nothing: two primaries of one builder publish the same. Numbers are ours, each with the second at which it came out. */
export function isNamesake({ generation, primary, publishedAtMs }: Trace, past: OwnPast): boolean {
  if (primary === null || primary !== past.primary) return false;
  const ours = past.publishedAtOf(generation);
  return ours !== null && secondOf(ours) !== secondOf(publishedAtMs);
}

/** The trace has whole seconds. */
function secondOf(ms: number): number {
  return Math.floor(ms / 1000);
}

/** What an operator is told to do about it. */
export const namesakeHint =
  'another primary has our name: give each its own publish.primary; when there is only this one, its records were set back';
