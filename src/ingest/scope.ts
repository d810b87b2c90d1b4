/** Finds what lies in an inbox where no repository may be: indexes that no path template matches. */
import { indexFileNames } from '../apk/entry.ts';
import type { InboxConfig } from '../config/schema.ts';
import { isComponentName, matchesAny } from '../config/template.ts';
import { errnoOf } from '../errors.ts';
import type { Reason } from '../store/batches.ts';
import type { Assessment } from './batch.ts';
import type { SurveyProblem } from './indexes.ts';
import type { Inbox } from './walk.ts';

/** However much lies there, one look costs no more than this. */
const maximumDepth = 8;
const maximumDirectories = 2000;
/** A directory of packages that is out of scope is read no further: its index is found by name. */
const entriesPerDirectory = 2000;
const problemsShown = 100;

/** The walk reads directories, so it is taken at each rescan and not at each event. */
export class ScopeWatch {
  readonly #inbox: InboxConfig;
  readonly #everyMs: number;
  #lookedAt: number | null = null;
  #outside: readonly string[] = [];

  constructor(inbox: InboxConfig, everyMs: number) {
    this.#inbox = inbox;
    this.#everyMs = everyMs;
  }

  /** Looks when it is due, by the monotonic clock. True when anything is different from last time. */
  async look(inbox: Inbox, nowMs: number): Promise<boolean> {
    if (this.#lookedAt !== null && nowMs - this.#lookedAt < this.#everyMs) return false;
    this.#lookedAt = nowMs;
    const before = this.#outside.join('\n');
    this.#outside = await this.#walk(inbox);
    return before !== this.#outside.join('\n');
  }

  assess(): Assessment[] {
    const detail = 'no path template of this inbox allows a repository here';
    return this.#outside.map((path) => problem({ code: 'OUT_OF_SCOPE', path, detail }, 'refused'));
  }

  /** Indexes in directories that match no template. What lies below a repository is its own and not looked at. */
  async #walk(inbox: Inbox): Promise<string[]> {
    const outside: string[] = [];
    const queue: string[][] = [[]];
    for (let seen = 0; seen < maximumDirectories; seen++) {
      const components = queue.shift();
      if (components === undefined) break;
      const path = components.join('/');
      if (components.length > 0 && matchesAny(this.#inbox.repositories, path)) continue;
      const below = await this.#lookAt(inbox, components, outside);
      if (outside.length >= problemsShown) break;
      queue.push(...below.slice(0, Math.max(0, maximumDirectories - queue.length)));
    }
    return outside.sort();
  }

  /** Notes the indexes of one directory; returns what lies below it. One that cannot be read can hold nothing that is published. */
  async #lookAt(inbox: Inbox, components: readonly string[], outside: string[]): Promise<string[][]> {
    const below: string[][] = [];
    try {
      await using directory = await inbox.directory(components);
      if (!directory) return [];
      for (const name of indexFileNames) {
        if ((await directory.see(name)).kind !== 'absent') outside.push([...components, name].join('/'));
      }
      if (components.length >= maximumDepth) return [];
      for await (const name of directory.subdirectories(entriesPerDirectory))
        if (name !== null && isComponentName(name)) below.push([...components, name]);
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
    }
    return below;
  }
}

/** What the survey stumbled over, as something that stands in the way of its batch. */
export function problemOf({ held, ...reason }: SurveyProblem): Assessment {
  return problem(reason, held ? 'guarded' : 'refused');
}

function problem(reason: Reason, kind: 'guarded' | 'refused'): Assessment {
  const { path } = reason;
  return { repository: path, index: path, sha256: null, base: null, vanished: false, kind, reasons: [reason] };
}
