/** Figures of the benches: times in milliseconds and their medians. */
import { statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

export async function timed(work: () => Promise<void>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const [low, high] = [sorted[middle - 1] ?? Number.NaN, sorted[middle] ?? Number.NaN];
  return sorted.length % 2 === 1 ? high : (low + high) / 2;
}

/** A figure against its bar, for a table: `12.3x (bar 10x: met)`. */
export function against(value: number, bar: number, kind: 'least' | 'most', { unit = 'x', digits = 1 } = {}): string {
  const met = kind === 'least' ? value >= bar : value <= bar;
  return `${value.toFixed(digits)}${unit} (bar ${bar}${unit}: ${met ? 'met' : 'MISSED'})`;
}

/** Like `promise`, but rejects after `ms`: what a bench waits for may never come. */
export async function within<T>(ms: number, what: string, promise: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`${what}: not within ${ms / 1000} s`)), ms);
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * The moments (Unix ms, to about 1 ms) at which each of the files is another one than at the call. Watching their directories would
 * wake us for every write to every file there, and take from both sides what it measures.
 */
export async function untilReplaced(paths: readonly string[]): Promise<number[]> {
  const inodeOf = (path: string): number | undefined => statSync(path, { throwIfNoEntry: false })?.ino;
  const before = paths.map(inodeOf);
  const moments = paths.map(() => Number.NaN);
  while (moments.some(Number.isNaN)) {
    await sleep(1);
    for (const [n, path] of paths.entries()) {
      if (!Number.isNaN(moments[n])) continue;
      const inode = inodeOf(path);
      if (inode !== undefined && inode !== before[n]) moments[n] = performance.timeOrigin + performance.now();
    }
  }
  return moments;
}
