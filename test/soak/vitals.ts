/** What the daemon costs while it is soaked, and whether that grows: samples of a process, judged by medians. */
import { readdirSync, readFileSync } from 'node:fs';

export interface Sample {
  /** Starts of the daemon before this one. */
  readonly life: number;
  readonly ageSeconds: number;
  readonly openFiles: number;
  readonly rssKiB: number;
}

export interface Growth {
  readonly what: string;
  readonly early: number;
  readonly late: number;
}

/** More than this is growth. */
export const flatWithin = 0.1;

/** A process that has just ended has none. */
export function takeSample(pid: number, life: number, ageSeconds: number): Sample | null {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const rssKiB = Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]);
    return { life, ageSeconds, openFiles: readdirSync(`/proc/${pid}/fd`).length, rssKiB };
  } catch {
    return null;
  }
}

/**
 * Two questions. Does a life at the same age cost more the later it is (something on the disk that grows)? The first third of the
 * short lives against the last, each at `age` seconds and a bit. Does one long life grow (a leak)? Its first quarter against its
 * last, without the time in which it settles. A pair that has no samples is left out.
 */
export function judgeVitals(samples: readonly Sample[], longLife: number, age: number): Growth[] {
  const lives = [...new Set(samples.map((s) => s.life))].filter((life) => life !== longLife);
  const third = Math.floor(lives.length / 3);
  const perLife = (some: readonly number[], of: (s: Sample) => number): number =>
    median(
      some.map((life) =>
        median(
          samples
            .filter((s) => s.life === life && s.ageSeconds >= age && s.ageSeconds < age + window)
            .map((s) => of(s)),
        ),
      ),
    );
  const long = samples.filter((s) => s.life === longLife);
  const settled = long.slice(Math.floor(long.length * settling));
  const quarter = Math.floor(settled.length / 4);
  return (
    [
      ['open files', (s: Sample) => s.openFiles],
      ['RSS, KiB', (s: Sample) => s.rssKiB],
    ] as const
  )
    .flatMap(([what, of]) => [
      {
        what: `${what}, at the age of ${age} s, first ${third} lives against the last ${third}`,
        early: perLife(lives.slice(0, third), of),
        late: perLife(lives.slice(lives.length - third), of),
      },
      {
        what: `${what}, in one long life, first quarter against the last`,
        early: median(settled.slice(0, quarter).map((s) => of(s))),
        late: median(settled.slice(settled.length - quarter).map((s) => of(s))),
      },
    ])
    .filter(({ early, late }) => !Number.isNaN(early) && !Number.isNaN(late));
}
const window = 4;
/** The share of a long life that is not looked at. */
const settling = 0.2;

export function grows({ early, late }: Growth): boolean {
  return late > early * (1 + flatWithin);
}

/** NaN of nothing. */
export function median(values: readonly number[]): number {
  const sorted = values.filter((value) => !Number.isNaN(value)).sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
