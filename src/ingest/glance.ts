/** A quick look at index files that are known: finds a change whose event was lost, long before the next rescan. Only a hint. */
import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../system/clock.ts';
import { eachLimited } from '../system/limit.ts';
import { fingerprint } from './walk.ts';

const everyMs = 1000;
/** More are left to the rescan; a glance takes some milliseconds of the thread pool. */
const pathsAtMost = 500;
const looksAtOnce = 4;

interface Known {
  /** What a pass over the inbox made of it. */
  readonly surveyed: string;
  /** What it was last. */
  readonly seen: string;
}

export class Glance {
  readonly #directory: string;
  readonly #clock: Clock;
  #known = new Map<string, Known>();
  #dueAt = 0;

  /** `directory` is the inbox. */
  constructor(directory: string, clock: Clock) {
    this.#directory = directory;
    this.#clock = clock;
  }

  /** From now on these files count: their paths relative to the inbox, and what stat said when they were looked at. */
  set(files: readonly { readonly path: string; readonly stat: string }[]): void {
    const before = this.#known;
    const entries = files.slice(0, pathsAtMost).map(({ path, stat }): [string, Known] => {
      const known = before.get(path);
      // What is no plain file never looks as surveyed: it wakes once, not for ever.
      return [path, known?.surveyed === stat ? known : { surveyed: stat, seen: stat }];
    });
    this.#known = new Map(entries);
    this.#dueAt = this.#clock.monotonic() + everyMs;
  }

  /** Looks when it is due. True when a file is not what it was. */
  async changed(): Promise<boolean> {
    if (this.#clock.monotonic() < this.#dueAt) return false;
    this.#dueAt = this.#clock.monotonic() + everyMs;
    let changed = false;
    await eachLimited(this.#known, looksAtOnce, async ([path, { surveyed, seen }]) => {
      const now = await stateOf(join(this.#directory, path));
      if (now === seen) return;
      changed = true;
      this.#known.set(path, { surveyed, seen: now });
    });
    return changed;
  }
}

async function stateOf(path: string): Promise<string> {
  try {
    return fingerprint(await lstat(path, { bigint: true }));
  } catch {
    return 'absent';
  }
}
