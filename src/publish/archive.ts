/** Keeps the bytes of published indexes under their digest, so that a rollback finds them when no tree holds them any more. */
import { join } from 'node:path';
import { errnoOf } from '../errors.ts';
import type { GenerationStore, IndexRow } from '../store/generations.ts';
import { makeDirectoryDurable, syncDirectory } from '../system/durable.ts';
import { diskFiles, type Files } from '../system/files.ts';

export class IndexArchive {
  readonly #root: string;
  readonly #files: Files;

  constructor(root: string, files: Files = diskFiles) {
    this.#root = root;
    this.#files = files;
  }

  /** Makes the directory; readable by us alone, nothing is served from it. */
  async open(): Promise<void> {
    await makeDirectoryDurable(join(this.#root, 'indexes'), 0o700, this.#files);
  }

  /** Where the index with this digest lies if it is kept, relative to the root. */
  path(sha256: string): string {
    return `indexes/${sha256}`;
  }

  /** Gives each file another name here, durably; what is kept already stays. A source that is not there is left out. */
  async keep(indexes: readonly { readonly sha256: string; readonly source: string }[]): Promise<void> {
    let made = 0;
    for (const { sha256, source } of indexes) {
      try {
        await this.#files.link(join(this.#root, source), join(this.#root, this.path(sha256)));
        made++;
      } catch (error) {
        if (errnoOf(error) !== 'EEXIST' && errnoOf(error) !== 'ENOENT') throw error;
      }
    }
    if (made > 0) await syncDirectory(join(this.#root, 'indexes'), this.#files);
  }

  /** A generation that came otherwise than by a publish of ours, by a rebuilt state for instance, can be gone back to as well. */
  async keepServed(generations: GenerationStore): Promise<void> {
    const current = generations.current();
    if (!current) return;
    const indexes = generations.indexesAt(current.number);
    const source = ({ repository, file }: IndexRow): string => `trees/${current.tree}/${repository}/${file}`;
    await this.keep(indexes.map((row) => ({ sha256: row.sha256, source: source(row) })));
  }

  /** Names of the indexes that lie here. */
  async list(): Promise<string[]> {
    return keptDigests(this.#root, this.#files);
  }

  /** Removes all but those in `wanted`. Returns how many went. */
  async prune(wanted: ReadonlySet<string>): Promise<number> {
    const unwanted = (await this.list()).filter((sha256) => !wanted.has(sha256));
    for (const sha256 of unwanted) await this.#files.rm(join(this.#root, this.path(sha256)), { force: true });
    if (unwanted.length > 0) await syncDirectory(join(this.#root, 'indexes'), this.#files);
    return unwanted.length;
  }
}

/** As `list`, also before anything was made: none then. */
export async function keptDigests(root: string, files: Files = diskFiles): Promise<string[]> {
  try {
    return (await files.readdir(join(root, 'indexes'))).filter((name) => /^[0-9a-f]{64}$/.test(name));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}
