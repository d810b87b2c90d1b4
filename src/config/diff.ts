/** Decides which keys differ between two configurations as they were written. Names keys, never values. Pure. */

const most = 50;

/**
 * Paths of the keys that differ, such as `mirrors.paris.quiet` or `schedule.rescan`, in the order of the newer document; a thing that
 * came or left is one path. Items of a list that have names are told by them. Of very many the rest is counted in a last entry.
 */
export function changedKeys(before: unknown, after: unknown): string[] {
  const found = [...differences(before, after, '')];
  return found.length <= most ? found : [...found.slice(0, most), `and ${found.length - most} more`];
}

function* differences(before: unknown, after: unknown, path: string): Generator<string> {
  const [from, to] = [partsOf(before), partsOf(after)];
  if (from === null || to === null) {
    if (JSON.stringify(before ?? null) !== JSON.stringify(after ?? null)) yield path;
    return;
  }
  for (const key of new Set([...to.keys(), ...from.keys()])) {
    const below = path === '' ? key : `${path}.${key}`;
    if (from.has(key) && to.has(key)) yield* differences(from.get(key), to.get(key), below);
    else yield below;
  }
}

/** What can be compared one by one: the keys of a mapping, the named items of a list; null for anything else. */
function partsOf(value: unknown): Map<string, unknown> | null {
  if (typeof value !== 'object' || value === null) return null;
  if (!Array.isArray(value)) return new Map(Object.entries(value));
  const named = value.map((item: unknown) => [nameOf(item), item] as const);
  const parts = new Map(named.flatMap(([name, item]) => (name === null ? [] : [[name, item] as const])));
  return parts.size === value.length && value.length > 0 ? parts : null;
}

function nameOf(item: unknown): string | null {
  if (typeof item !== 'object' || item === null) return null;
  const { name, builder } = item as { name?: unknown; builder?: unknown };
  const found = name ?? builder;
  return typeof found === 'string' ? found : null;
}
