/** Decides what a new configuration changes in a running daemon. Pure. */
import { join, relative } from 'node:path/posix';
import { changedKeys } from '../config/diff.ts';
import type { Config } from '../config/schema.ts';

export interface ReloadPlan {
  /** Services that must end because their configuration changed or went: `inbox:NAME`, `mirror:NAME`, `probe:NAME`. */
  readonly stop: ReadonlySet<string>;
  /** Keys that differ from what was written before, see config/diff.ts. */
  readonly changed: readonly string[];
  /** Keys that only a restart can change; the old values stay. */
  readonly needsRestart: readonly string[];
  /** What the daemon runs with from now on. */
  readonly config: Config;
}

/** What is taken at the start for good, by its key. */
const fixed: readonly (readonly [key: string, of: (config: Config) => unknown])[] = [
  ['root', ({ root }) => root],
  ['state', ({ state }) => state],
  ['socket', ({ socket }) => socket],
  ['listen', ({ listen }) => listen],
  ['listen_public', ({ listenPublic }) => listenPublic],
  ['workers', ({ workers }) => workers],
  ['publish.grace', ({ publish }) => publish.graceMs],
  ['publish.keep_trees_for', ({ publish }) => publish.keepTreesForMs],
  ['publish.max_trees', ({ publish }) => publish.maxTrees],
  ['publish.keep_for_mirrors', ({ publish }) => publish.keepForMirrorsMs],
  ['publish.keep_indexes', ({ publish }) => publish.keepIndexesBytes],
  ['publish.primary', ({ publish }) => publish.primary],
];

export function planReload(old: Config, next: Config): ReloadPlan {
  const sameRules = same([old.reserveBytes, old.schedule.rescanMs], [next.reserveBytes, next.schedule.rescanMs]);
  const { root, state, socket, listen, listenPublic, workers, publish } = old;
  // The root stays until a restart, and the inboxes with it: they lie below it.
  const inboxes = next.inboxes.map((i) => ({ ...i, path: join(root, relative(next.root, i.path)) }));
  const stop = new Set<string>();
  for (const inbox of old.inboxes) {
    if (!sameRules || !inboxes.some((i) => same(i, inbox))) stop.add(`inbox:${inbox.builder}`);
  }
  for (const mirror of old.mirrors) {
    if (!next.mirrors.some((m) => same(m, mirror))) stop.add(`mirror:${mirror.name}`).add(`probe:${mirror.name}`);
  }
  return {
    stop,
    changed: changedKeys(old.written, next.written),
    needsRestart: fixed.filter(([, of]) => !same(of(old), of(next))).map(([key]) => key),
    config: { ...next, inboxes, root, state, socket, listen, listenPublic, workers, publish },
  };
}

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
