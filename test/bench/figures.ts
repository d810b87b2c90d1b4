/** Figures of the benches: times in milliseconds and their medians. */
import { type FSWatcher, statSync, watch } from 'node:fs';

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
 * The moments (Unix ms) at which each of these files has been replaced by another. The files themselves are watched, which says
 * so at once; to watch their directories would wake us for every write to every file there, and take from what is measured.
 */
export async function untilReplaced(paths: readonly string[]): Promise<number[]> {
  const watchers: FSWatcher[] = [];
  const moments = paths.map(
    (path) =>
      new Promise<number>((resolve) => {
        const { ino } = statSync(path);
        const watcher = watch(path, () => {
          const moment = performance.timeOrigin + performance.now();
          if (statSync(path, { throwIfNoEntry: false })?.ino !== ino) resolve(moment);
        });
        watchers.push(watcher);
      }),
  );
  try {
    return await Promise.all(moments);
  } finally {
    for (const watcher of watchers) watcher.close();
  }
}
