/** Prunes one mirror: removes what has been out of every index that it serves for the grace period. */
import { posix } from 'node:path';
import type { PushDeps } from './ports.ts';
import type { Transport } from './transport.ts';

/** `generation` is what the mirror serves: what a newer one takes away stays until that one has come. */
export async function removeExpired(
  mirror: string,
  generation: number,
  transport: Transport,
  deps: Pick<PushDeps, 'store' | 'clock' | 'graceMs' | 'takes'>,
  signal: AbortSignal,
): Promise<void> {
  const { generations, mirrors } = deps.store;
  const graceEnd = deps.clock.now() - deps.graceMs;
  const untilMs = Math.min(graceEnd, generations.pruneLimit(generation) ?? graceEnd);
  const expiry = { sinceMs: mirrors.get(mirror).prunedUntilMs, untilMs, at: generation };
  let passed = 0;
  let after: number | null = 0;
  while (after !== null) {
    const page = generations.expired(expiry, after);
    const paths = page.paths.filter((path) => deps.takes(posix.dirname(path)));
    if (paths.length > 0) await transport.remove(paths, { signal });
    passed += page.paths.length;
    after = page.next;
  }
  // Each write is synced: none when there was nothing.
  if (passed > 0) mirrors.pruned(mirror, untilMs);
}
