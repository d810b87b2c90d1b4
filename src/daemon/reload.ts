/** Decides what a new configuration changes in a running daemon. Pure. */
import { join, relative } from 'node:path/posix';
import type { Config } from '../config/schema.ts';

export interface ReloadPlan {
  /** Services that must end because their configuration changed or went: `inbox:NAME`, `mirror:NAME`, `probe:NAME`. */
  readonly stop: ReadonlySet<string>;
  /** Keys that only a restart can change; the old values stay. */
  readonly needsRestart: readonly string[];
  /** What the daemon runs with from now on. */
  readonly config: Config;
}

const fixedKeys = ['root', 'state', 'socket', 'listen', 'listenPublic', 'workers', 'publish', 'log'] as const;

export function planReload(old: Config, next: Config): ReloadPlan {
  const sameRules = same([old.reserveBytes, old.schedule.rescanMs], [next.reserveBytes, next.schedule.rescanMs]);
  const sameProbes = old.schedule.probeMs === next.schedule.probeMs;
  const { root, state, socket, listen, listenPublic, workers, publish, log } = old;
  // The root stays until a restart, and the inboxes with it: they lie below it.
  const inboxes = next.inboxes.map((i) => ({ ...i, path: join(root, relative(next.root, i.path)) }));
  const stop = new Set<string>();
  for (const inbox of old.inboxes) {
    if (!sameRules || !inboxes.some((i) => same(i, inbox))) stop.add(`inbox:${inbox.builder}`);
  }
  for (const mirror of old.mirrors) {
    if (!sameProbes || !next.mirrors.some((m) => same(m, mirror)))
      stop.add(`mirror:${mirror.name}`).add(`probe:${mirror.name}`);
  }
  return {
    stop,
    needsRestart: fixedKeys.filter((key) => !same(old[key], next[key])),
    config: { ...next, inboxes, root, state, socket, listen, listenPublic, workers, publish, log },
  };
}

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
