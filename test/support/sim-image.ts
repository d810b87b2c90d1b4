/** What lies on a simulated disk, by inode, and the changes of names that lead from one state to the next. */

export type Content =
  | { readonly kind: 'file'; readonly data: Buffer; readonly mtimeSeconds: number; readonly mode: number }
  | { readonly kind: 'link'; readonly target: string }
  | { readonly kind: 'directory'; readonly entries: Map<string, number> };

/** One change of names: all of it survives or nothing. */
export type Change = readonly { readonly directory: number; readonly name: string; readonly ino: number | null }[];

export type Random = () => number;

export const rootIno = 1;

/** What lies on the disk, by inode. */
export class Image {
  readonly nodes: Map<number, Content>;

  constructor(nodes: Map<number, Content> = new Map([[rootIno, { kind: 'directory', entries: new Map() }]])) {
    this.nodes = nodes;
  }

  copy(): Image {
    const nodes = new Map<number, Content>();
    for (const [ino, node] of this.nodes) {
      nodes.set(ino, node.kind === 'directory' ? { kind: 'directory', entries: new Map(node.entries) } : node);
    }
    return new Image(nodes);
  }

  /** `from`: the directory that a relative path starts at. */
  find(path: string, from = rootIno): { readonly ino: number; readonly node: Content } | null {
    let ino = from;
    for (const name of path.split('/').filter((part) => part !== '' && part !== '.')) {
      const node = this.nodes.get(ino);
      const next = node?.kind === 'directory' ? node.entries.get(name) : undefined;
      if (next === undefined) return null;
      ino = next;
    }
    const node = this.nodes.get(ino);
    return node === undefined ? null : { ino, node };
  }

  /** Path -> content of the regular files below `path`, relative to it. */
  filesBelow(path: string): Map<string, string> {
    const files = new Map<string, string>();
    const walk = (at: string, below: string): void => {
      const node = this.find(at)?.node;
      if (node?.kind === 'file') files.set(below, node.data.toString());
      if (node?.kind !== 'directory') return;
      for (const name of node.entries.keys()) walk(`${at}/${name}`, below === '' ? name : `${below}/${name}`);
    };
    walk(path, '');
    return files;
  }

  /** Forgets what no name leads to. */
  dropUnreachable(): void {
    const reached = new Set<number>();
    const walk = (ino: number): void => {
      reached.add(ino);
      const node = this.nodes.get(ino);
      if (node?.kind === 'directory') for (const entry of node.entries.values()) walk(entry);
    };
    walk(rootIno);
    for (const ino of this.nodes.keys()) if (!reached.has(ino)) this.nodes.delete(ino);
  }

  /** How many names a file has. */
  namesOf(ino: number): number {
    let names = 0;
    for (const node of this.nodes.values()) {
      if (node.kind === 'directory') for (const entry of node.entries.values()) if (entry === ino) names++;
    }
    return names;
  }

  apply(change: Change): void {
    for (const { directory, name, ino } of change) {
      const node = this.nodes.get(directory);
      if (node?.kind !== 'directory') continue;
      if (ino === null) node.entries.delete(name);
      else node.entries.set(name, ino);
    }
  }
}

/** The chosen changes, with all that came before them on the same names: a name does not take its second value first. */
export function inOrder(changes: readonly Change[], choose: (change: Change) => boolean): Change[] {
  const names = new Set<string>();
  const chosen: Change[] = [];
  for (const change of changes.toReversed()) {
    const touched = change.map((part) => `${part.directory}/${part.name}`);
    if (!choose(change) && !touched.some((name) => names.has(name))) continue;
    for (const name of touched) names.add(name);
    chosen.push(change);
  }
  return chosen.toReversed();
}
