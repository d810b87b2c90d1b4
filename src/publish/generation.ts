/** Decides which tree a new generation goes into and what time its files carry. Pure. */

export interface TreeFacts {
  readonly name: string;
  /** The generation that the tree has caught up to; 0: nothing, or not finished. */
  readonly generation: number;
  /** When it stopped being served; null: it never was, or is served now. */
  readonly leftAtMs: number | null;
  /** A push reads from it. */
  readonly leased: boolean;
}

export interface TreeChoice {
  readonly name: string;
  readonly generation: number;
  /** True when the tree's time has come: nobody is expected to read it any more. */
  readonly free: boolean;
}

/**
 * The tree for the next generation: a spare one; else the one that was left longest ago, if that is `keepTreesForMs` ago;
 * else a new one up to `maxTrees`; else the one left longest ago all the same. A tree that a push reads is never taken,
 * even if that means one tree more.
 */
export function chooseTree(
  trees: readonly TreeFacts[],
  currentTree: string | null,
  options: { readonly nowMs: number; readonly keepTreesForMs: number; readonly maxTrees: number },
): TreeChoice {
  const idle = trees.filter((t) => t.name !== currentTree && !t.leased);
  const spare = idle.filter((t) => t.leftAtMs === null).sort((a, b) => b.generation - a.generation)[0];
  if (spare) return { name: spare.name, generation: spare.generation, free: true };
  const oldest = idle.sort((a, b) => (a.leftAtMs ?? 0) - (b.leftAtMs ?? 0))[0];
  if (oldest && (oldest.leftAtMs ?? 0) + options.keepTreesForMs <= options.nowMs) {
    return { name: oldest.name, generation: oldest.generation, free: true };
  }
  if (oldest && trees.length >= options.maxTrees)
    return { name: oldest.name, generation: oldest.generation, free: false };
  return { name: newTreeName(trees.map((t) => t.name)), generation: 0, free: false };
}

/** `a` to `z`, then `t27` and so on: short, because operators read them in the link. */
function newTreeName(taken: readonly string[]): string {
  for (let n = 0; ; n++) {
    const name = n < 26 ? String.fromCharCode(97 + n) : `t${n + 1}`;
    if (!taken.includes(name)) return name;
  }
}

/** True for a name that `newTreeName` makes. */
export function isTreeName(name: string): boolean {
  return /^(?:[a-z]|t\d+)$/.test(name);
}

/**
 * The modification time of a file that replaces another one under the same name: whole seconds, never the same as before.
 * rsync's quick check compares size and second, and must not take a new index for the old one.
 */
export function nextMtimeSeconds(nowMs: number, previousSeconds: number | null): number {
  return Math.max(Math.floor(nowMs / 1000), (previousSeconds ?? -1) + 1);
}
