/** Removes from a mirror what no index that it serves, or served within the grace period, names. */
import type { WorkerDeps } from './ports.ts';
import type { Transport } from './transport.ts';

/** `generation` is what the mirror serves: what a newer one takes away stays until that one has come. Throws what `remove` throws. */
// oxlint-disable-next-line max-params -- one caller
export async function pruneMirror(
  mirror: string,
  generation: number,
  transport: Transport,
  { store, clock, graceMs }: Pick<WorkerDeps, 'store' | 'clock' | 'graceMs'>,
  signal: AbortSignal,
): Promise<void> {
  const { generations, mirrors } = store;
  const graceEnd = clock.now() - graceMs;
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
