/** A public link over trees of one file a package, as the primary has it, without a daemon: generations in milliseconds, for tests of who pulls. */
import { link, mkdir, readFile, rename, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const epochSeconds = 1_790_000_000;

/** The file that the index of these tests names, and what is in it: its own name, so that a reader can tell a wrong one. */
export const packageBody = (name: string): string => `${name}\n`.repeat(200);

export class Trees {
  readonly root: string;
  readonly #repositories: readonly string[];
  #generation = 0;
  #held = new Map<string, readonly string[]>();

  constructor(root: string, repositories: readonly string[]) {
    this.root = root;
    this.#repositories = repositories;
  }

  get public(): string {
    return join(this.root, 'public');
  }

  get generation(): number {
    return this.#generation;
  }

  /** Publishes a generation in which every index names `packages`; `kept` lie there too and are named by none. */
  async publish(packages: readonly string[], kept: readonly string[] = []): Promise<void> {
    const before = this.#generation === 0 ? null : join(this.root, 'trees', `g${this.#generation}`);
    const generation = ++this.#generation;
    const tree = join(this.root, 'trees', `g${generation}`);
    const mtime = epochSeconds + generation;
    for (const repository of this.#repositories) {
      const directory = join(tree, repository);
      await mkdir(directory, { recursive: true, mode: 0o755 });
      for (const name of new Set([...packages, ...kept])) {
        const there = before !== null && this.#held.get(repository)?.includes(name) === true;
        if (there) await link(join(before, repository, name), join(directory, name));
        else await writeTimed(join(directory, name), packageBody(name), mtime);
      }
      const names = packages.map((name) => `${name}\n`).join('');
      await writeTimed(join(directory, 'APKINDEX.tar.gz'), `${generation}\n${names}`, mtime);
    }
    for (const repository of this.#repositories) this.#held.set(repository, [...packages, ...kept]);
    await writeTimed(join(tree, 'lockstep.json'), `${JSON.stringify({ version: 1, generation }, null, 1)}\n`, mtime);
    await symlink(`trees/g${generation}`, join(this.root, 'public.new'));
    await rename(join(this.root, 'public.new'), this.public);
  }

  /** Removes the trees older than the last `keep`. */
  async forget(keep: number): Promise<void> {
    const gone = join(this.root, 'trees', `g${this.#generation - keep}`);
    await rm(gone, { recursive: true, force: true });
  }
}

async function writeTimed(path: string, text: string, seconds: number): Promise<void> {
  await writeFile(path, text);
  await utimes(path, seconds, seconds);
}

/** What an index of these tests says: its generation and the packages that it names. */
export async function readIndex(path: string): Promise<{ generation: number; packages: string[] }> {
  const [generation, ...packages] = (await readFile(path, 'utf8')).trimEnd().split('\n');
  return { generation: Number(generation), packages };
}
