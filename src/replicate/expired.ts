/** Prunes one mirror: removes what has been out of every index that it serves for the grace period. */
import type { WorkerDeps } from './ports.ts';
import type { Transport } from './transport.ts';

/** `generation` is what the mirror serves: what a newer one takes away stays until that one has come. */
export async function removeExpired(
  mirror: string,
  generation: number,
  transport: Transport,
  deps: Pick<WorkerDeps, 'store' | 'clock' | 'graceMs'>,
  signal: AbortSignal,
): Promise<void> {
  const { generations, mirrors } = deps.store;
  const graceEnd = deps.clock.now() - deps.graceMs;
  const untilMs = Math.min(graceEnd, generations.pruneLimit(generation) ?? graceEnd);
  const expiry = { sinceMs: mirrors.get(mirror).prunedUntilMs, untilMs, at: generation };
  let removed = 0;
  let after: number | null = 0;
  while (after !== null) {
    const page = generations.expired(expiry, after);
    if (page.paths.length > 0) await transport.remove(page.paths, { signal });
    removed += page.paths.length;
    after = page.next;
  }
  // Each write is synced: none when there was nothing.
  if (removed > 0) mirrors.pruned(mirror, untilMs);
}
