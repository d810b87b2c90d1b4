/** Sets the gauges of keys and scrubs from the facts, at a scrape. */
import type { StatusFacts } from './status.ts';

interface Values {
  set(labels: Readonly<Record<string, string>>, value: number): void;
  set(value: number): void;
  reset(): void;
}

/** Those whose key is not trusted any more come first: the limit must not hide them. */
export function setKeyGauges(
  gauges: { readonly keyUntrusted: Values; readonly keysUnusable: Values },
  { repositories, keyProblems }: StatusFacts,
  { builders, maxRepositories }: { readonly builders: readonly string[]; readonly maxRepositories: number },
): void {
  gauges.keyUntrusted.reset();
  const untrusted = (r: (typeof repositories)[number]): number => (r.keyState === 'valid' ? 0 : 1);
  for (const each of repositories.toSorted((a, b) => untrusted(b) - untrusted(a)).slice(0, maxRepositories)) {
    gauges.keyUntrusted.set({ repository: each.path }, untrusted(each));
  }
  gauges.keysUnusable.reset();
  for (const builder of builders) {
    gauges.keysUnusable.set({ builder }, keyProblems.filter((problem) => problem.builder === builder).length);
  }
}

type ScrubGauge = 'scrubbedAt' | 'scrubFiles' | 'scrubBytes' | 'scrubRunning' | 'damaged' | 'drift';

export function setScrubGauges(
  { scrubbedAt, scrubFiles, scrubBytes, scrubRunning, damaged, drift }: Readonly<Record<ScrubGauge, Values>>,
  { scrub }: StatusFacts,
  mirrors: readonly string[],
): void {
  scrubRunning.set(scrub.running ? 1 : 0);
  if (scrub.finished_at !== null) scrubbedAt.set(Date.parse(scrub.finished_at) / 1000);
  scrubFiles.set({ outcome: 'checked' }, scrub.files);
  scrubFiles.set({ outcome: 'corrupt' }, scrub.corrupt);
  scrubFiles.set({ outcome: 'repaired' }, scrub.repaired);
  scrubBytes.set(scrub.bytes);
  damaged.set(scrub.damaged.length);
  drift.reset();
  for (const mirror of scrub.mirrors) {
    if (!mirrors.includes(mirror.name)) continue;
    const found = mirror.missing + mirror.different + mirror.corrupt;
    drift.set({ mirror: mirror.name, outcome: 'found' }, found);
    drift.set({ mirror: mirror.name, outcome: 'unrepaired' }, Math.max(0, found - mirror.repaired));
  }
}
