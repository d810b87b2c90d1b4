/** A simulated mirror: its files, its link, what is wrong with it at the moment. Who watches sees each change of a name. */
import type { QuietWindow } from '../../src/config/quiet.ts';
import { traceFile } from '../../src/store/trace.ts';
import { indexFile, type Stored } from './primary.ts';

/**
 * What an account can do: `sftp` reads beside a put and renames a wave at its end; `rsync` has a lock, leaves out what is there
 * and reads at the price of a run; `directory` reads; `blind` may only write.
 */
export type Kind = 'sftp' | 'rsync' | 'directory' | 'blind';

export type FaultName =
  | 'down'
  | 'dns'
  | 'black hole'
  | 'flaky'
  | 'slow'
  | 'disk full'
  | 'read-only'
  | 'busy'
  | 'auth'
  | 'host key'
  | 'blocked by hand';

/** Told of each change that a reader of the mirror could see. */
export interface Watcher {
  renamed(mirror: FarMirror, path: string, file: Stored): void;
  removed(mirror: FarMirror, path: string): void;
}

export interface MirrorTraits {
  readonly name: string;
  readonly kind: Kind;
  readonly rttMs: number;
  readonly bytesPerSecond: number;
  /** What our configuration limits it to; null: nothing. */
  readonly limit: number | null;
  readonly takes: (repository: string) => boolean;
  readonly quiet: readonly QuietWindow[];
}

export class FarMirror {
  readonly traits: MirrorTraits;
  /** By directory, then by name; the root is `.`. */
  readonly directories = new Map<string, Map<string, Stored>>();
  readonly #watcher: Watcher;
  fault: FaultName | null = null;
  /** Somebody else has changed its files, and no comparison has begun since. */
  isTampered = false;
  /** Somebody once brought an old state of it back. */
  wasRestored = false;
  pushing = false;
  /** How often its files have changed. */
  changes = 0;
  #backup: Map<string, Map<string, Stored>> | null = null;

  constructor(traits: MirrorTraits, watcher: Watcher) {
    this.traits = traits;
    this.#watcher = watcher;
  }

  get name(): string {
    return this.traits.name;
  }

  get(path: string): Stored | undefined {
    const [directory, name] = partsOf(path);
    return this.directories.get(directory)?.get(name);
  }

  indexOf(repository: string): Stored | undefined {
    return this.directories.get(repository)?.get(indexFile);
  }

  rename(path: string, file: Stored): void {
    const [directory, name] = partsOf(path);
    const files = this.directories.get(directory) ?? new Map<string, Stored>();
    this.directories.set(directory, files);
    files.set(name, file);
    this.changes++;
    this.#watcher.renamed(this, path, file);
  }

  remove(path: string): void {
    const [directory, name] = partsOf(path);
    if (!this.directories.get(directory)?.delete(name)) return;
    this.changes++;
    this.#watcher.removed(this, path);
  }

  /** Its admin makes a backup. */
  backUp(): void {
    this.#backup = copyOf(this.directories);
  }

  /** Its admin puts the backup back; without one, everything is gone. */
  tamper(restore: boolean): void {
    const before = restore ? this.#backup : null;
    this.directories.clear();
    for (const [directory, files] of copyOf(before ?? new Map())) this.directories.set(directory, files);
    this.isTampered = true;
    this.changes++;
    this.wasRestored ||= before !== null;
  }

  /** Paths of everything, the trace and indexes included. */
  *paths(): Generator<string> {
    for (const [directory, files] of this.directories)
      for (const name of files.keys()) yield directory === '.' ? name : `${directory}/${name}`;
  }
}

export function isIndex(path: string): boolean {
  return path.endsWith(`/${indexFile}`);
}

export function isTrace(path: string): boolean {
  return path === traceFile;
}

export function partsOf(path: string): [directory: string, name: string] {
  const cut = path.lastIndexOf('/');
  return cut < 0 ? ['.', path] : [path.slice(0, cut), path.slice(cut + 1)];
}

function copyOf(directories: ReadonlyMap<string, ReadonlyMap<string, Stored>>): Map<string, Map<string, Stored>> {
  return new Map([...directories].map(([directory, files]) => [directory, new Map(files)]));
}
