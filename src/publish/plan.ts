/** Plans how a tree comes to hold a generation, as an ordered list of steps with the commit point last. Pure: rows in, steps out. */
import type { IndexRow, PackageRow } from '../store/generations.ts';
import { traceFile } from '../store/trace.ts';

/** Paths are relative to the root. Each step may be carried out again after a crash. */
export type Step =
  /** `path` becomes another name of the file `source`. A retained package may be gone: a prune that was cut off removed it. */
  | { readonly kind: 'link'; readonly source: string; readonly path: string; readonly retained?: true }
  /** `path` is not there any more, durably. */
  | { readonly kind: 'unlink'; readonly path: string }
  /** `path` gets this content, durably. */
  | { readonly kind: 'write'; readonly path: string; readonly content: string; readonly mtimeSeconds: number }
  /** The entries of `directory` survive a power cut from here on. */
  | { readonly kind: 'sync'; readonly directory: string }
  /** The commit point: `public` names `tree`. A plain directory in its place is renamed to `aside` first, if that is given. */
  | { readonly kind: 'switch'; readonly tree: string; readonly aside?: string };

export interface TreePlanInput {
  readonly tree: string;
  /** The tree whose files may be linked when a row has no source of its own. */
  readonly currentTree: string | null;
  /** Packages that the tree lacks, each path once. */
  readonly packages: Iterable<readonly PackageRow[]>;
  /** Indexes that differ between what the tree holds and the generation. */
  readonly indexes: readonly IndexRow[];
  /** Paths of indexes that left since the generation that the tree holds; their packages stay for the grace period. */
  readonly left: readonly string[];
  readonly trace: { readonly content: string; readonly mtimeSeconds: number };
}

/** Packages, their directories, indexes and trace, their directories; nothing is served from this tree meanwhile. */
export function* planTree(input: TreePlanInput): Generator<Step> {
  const base = `trees/${input.tree}`;
  const sourceOf = (source: string | null, path: string): string =>
    source ?? `trees/${input.currentTree ?? input.tree}/${path}`;
  const directories = new Set<string>();
  for (const page of input.packages) {
    for (const row of page) {
      const path = `${row.repository}/${row.file}`;
      directories.add(`${base}/${row.repository}`);
      const retained = row.retained ? { retained: true as const } : {};
      yield { kind: 'link', source: sourceOf(row.source, path), path: `${base}/${path}`, ...retained };
    }
  }
  for (const directory of directories) yield { kind: 'sync', directory };
  for (const index of input.indexes) {
    const path = `${index.repository}/${index.file}`;
    directories.add(`${base}/${index.repository}`);
    yield { kind: 'link', source: sourceOf(index.source, path), path: `${base}/${path}` };
  }
  for (const index of input.indexes) yield { kind: 'sync', directory: `${base}/${index.repository}` };
  for (const path of input.left) yield { kind: 'unlink', path: `${base}/${path}` };
  yield { kind: 'write', path: `${base}/${traceFile}`, ...input.trace };
  for (const directory of parentsOf(directories, base)) yield { kind: 'sync', directory };
}

/** Every directory between the repositories and the top of the tree, deepest first, then the tree and what holds it. */
function parentsOf(directories: Iterable<string>, base: string): string[] {
  const parents = new Set<string>();
  for (const directory of directories) {
    for (let at = directory.lastIndexOf('/'); at > base.length; at = directory.lastIndexOf('/', at - 1)) {
      parents.add(directory.slice(0, at));
    }
  }
  return [...[...parents].sort((a, b) => b.length - a.length), base, 'trees'];
}

/** The trace file of a generation: for people and other tools; probes compare the indexes themselves. */
export function traceContent(
  {
    generation,
    primary,
    publishedAt,
  }: { readonly generation: number; readonly primary: string; readonly publishedAt: string },
  indexes: readonly IndexRow[],
): string {
  const trace = {
    version: 1,
    generation,
    primary,
    published_at: publishedAt,
    repositories: indexes.map((index) => ({
      path: index.repository,
      index: index.file,
      index_sha256: index.sha256,
      packages: index.packages,
    })),
  };
  return `${JSON.stringify(trace, null, 1)}\n`;
}
