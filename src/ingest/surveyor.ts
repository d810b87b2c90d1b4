/** Surveys an inbox again and again at the cost of what has changed: what a few calls of stat find unchanged is not opened again. */
import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import type { Template } from '../config/template.ts';
import type { Clock } from '../system/clock.ts';
import { eachLimited } from '../system/limit.ts';
import {
  type Listing,
  type Listings,
  type Look,
  lookAt,
  type Place,
  type Survey,
  type Walk,
  walkTemplates,
} from './indexes.ts';
import { fingerprint, type Inbox } from './walk.ts';

export interface SurveyorOptions {
  /** The inbox. */
  readonly path: string;
  readonly repositories: readonly Template[];
  readonly maxRepositories: number;
  readonly clock: Clock;
  /** After so long everything is looked at anew, whatever stat says. */
  readonly rescanMs: number;
}

/** As many as the thread pool carries out side by side, and some more to keep it busy. */
const looksAtOnce = 8;
/** File systems stamp in steps of some milliseconds: what changed so shortly before a look may change again without a trace. */
const stampStepMs = 100;

/** A directory as it was before it was looked at; null when it was so new that its time proves nothing. */
type Stamp = string | null;

interface Stamped<T> {
  readonly found: T;
  readonly stamp: Stamp;
}

export class Surveyor {
  readonly #options: SurveyorOptions;
  #place = '';
  #anewAt = 0;
  #listings = new Map<string, Stamped<Listing>>();
  #looks = new Map<string, Stamped<Look>>();

  constructor(options: SurveyorOptions) {
    this.#options = options;
  }

  /** Opens no index. What is not looked at again is only believed to be unchanged; who reads a file reads it safely. */
  async survey(inbox: Inbox): Promise<Survey> {
    const { clock, repositories, maxRepositories, rescanMs } = this.#options;
    if (inbox.place !== this.#place || clock.monotonic() - this.#anewAt >= rescanMs) {
      this.#listings.clear();
      this.#looks.clear();
      this.#place = inbox.place;
      this.#anewAt = clock.monotonic();
    }
    const walk = await walkTemplates(inbox, repositories, maxRepositories, this.#remembered());
    const looks = new Map<string, Stamped<Look>>();
    const changed: Place[] = [];
    for (const place of walk.places) {
      const known = this.#looks.get(place.repository);
      if (known !== undefined && this.#isUnchanged(place.repository, known)) looks.set(place.repository, known);
      else changed.push(place);
    }
    await eachLimited(changed, looksAtOnce, async (place) => {
      const stamp = this.#stamp(place.repository);
      looks.set(place.repository, { found: await lookAt(inbox, place), stamp });
    });
    this.#looks = looks;
    return summary(
      walk,
      [...looks.values()].map(({ found }) => found),
    );
  }

  /** For one walk: what it does not ask for is forgotten. */
  #remembered(): Listings {
    const before = this.#listings;
    const stamps = new Map<string, Stamp>();
    const now = new Map<string, Stamped<Listing>>();
    this.#listings = now;
    return {
      get: (path) => {
        const known = now.get(path) ?? before.get(path);
        // Taken before anybody reads the directory: what comes while it is read changes the next one.
        const stamp = this.#stamp(path);
        stamps.set(path, stamp);
        if (known === undefined || stamp === null || known.stamp !== stamp) return null;
        now.set(path, known);
        return known.found;
      },
      set: (path, found) => void now.set(path, { found, stamp: stamps.get(path) ?? null }),
    };
  }

  #isUnchanged(repository: string, { found, stamp }: Stamped<Look>): boolean {
    if (stamp === null || found.problem !== null || this.#stamp(repository) !== stamp) return false;
    return found.indexes.every(({ path, seen }) => stateOf(join(this.#options.path, path))?.text === seen.stat);
  }

  /** In one synchronous call of microseconds: the inbox lies on the file system that everything else of ours lies on. */
  #stamp(path: string): Stamp {
    const state = stateOf(join(this.#options.path, path));
    return state !== null && state.changedAtMs < this.#options.clock.now() - stampStepMs ? state.text : null;
  }
}

function summary(found: Walk, looks: readonly Look[]): Survey {
  const byPath = (a: { readonly path: string }, b: { readonly path: string }): number => (a.path < b.path ? -1 : 1);
  return {
    indexes: looks.flatMap(({ indexes }) => indexes).sort(byPath),
    absent: looks.flatMap(({ absent }) => absent).sort(),
    problems: [...found.problems, ...looks.flatMap(({ problem }) => problem ?? [])].sort(byPath),
    watchable: [...found.watchable, ...looks.flatMap(({ watchable }) => watchable)],
  };
}

function stateOf(path: string): { readonly text: string; readonly changedAtMs: number } | null {
  try {
    const stat = lstatSync(path, { bigint: true });
    return { text: fingerprint(stat), changedAtMs: Number(stat.ctimeNs / 1_000_000n) };
  } catch {
    // Whoever looks at it properly says what is wrong.
    return null;
  }
}
