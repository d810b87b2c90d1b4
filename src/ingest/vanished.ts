/** Notices indexes of a builder that are served and do not lie in its inbox any more. */
import { matchesAny } from '../config/template.ts';
import type { InboxConfig } from '../config/schema.ts';
import type { IndexRow } from '../store/generations.ts';
import type { Store } from '../store/store.ts';
import type { Assessment } from './batch.ts';
import { judge, vanishedFindings } from './guards.ts';
import type { Survey } from './indexes.ts';

export interface VanishedDeps {
  readonly store: Store;
  /** True when another inbox may publish that repository. */
  readonly isOfAnother: (repository: string) => boolean;
}

export class VanishedIndexes {
  readonly #inbox: InboxConfig;
  readonly #deps: VanishedDeps;
  /** The directory (device and inode) in which an index was seen: an empty one in its place is another file system, or none. */
  #seenIn: string | null = null;
  #vanished: readonly IndexRow[] = [];

  constructor(inbox: InboxConfig, deps: VanishedDeps) {
    this.#inbox = inbox;
    this.#deps = deps;
  }

  /** Compares what lies in the inbox with what is served. True when anything is different from last time. */
  look(place: string, survey: Survey): boolean {
    const before = this.#vanished;
    if (survey.indexes.length > 0) this.#seenIn = place;
    // What was not looked at is not known to be gone.
    if (this.#seenIn !== place || survey.problems.some((problem) => problem.held)) {
      this.#vanished = [];
    } else {
      const there = new Set(survey.indexes.map((index) => index.path));
      this.#vanished = this.#deps.store.generations
        .indexesBy(this.#inbox.builder)
        .filter((row) => !there.has(pathOf(row)) && !this.#deps.isOfAnother(row.repository));
    }
    const sameAs = (a: IndexRow, b: IndexRow | undefined): boolean =>
      b !== undefined && pathOf(a) === pathOf(b) && a.since === b.since;
    return before.length !== this.#vanished.length || before.some((row, i) => !sameAs(row, this.#vanished[i]));
  }

  /** The inbox is not there: an absence says nothing about its indexes. */
  forget(): void {
    this.#seenIn = null;
    this.#vanished = [];
  }

  assess(): Assessment[] {
    return this.#vanished.map((row) => this.#assess(row));
  }

  /** Null when the index at `path` has not vanished. */
  assessOne(path: string): Assessment | null {
    const row = this.#vanished.find((index) => pathOf(index) === path);
    return row === undefined ? null : this.#assess(row);
  }

  #assess(row: IndexRow): Assessment {
    const { repository, file, sha256, since, packages } = row;
    const index = pathOf(row);
    const inScope = matchesAny(this.#inbox.repositories, repository);
    const rolledBack = this.#deps.store.rollbacks.of(since);
    const findings = vanishedFindings({ repository, file, packages, inScope, rolledBack }, this.#inbox);
    const judged = judge(repository, findings, since, this.#deps.store.decisions.find(index, sha256));
    const base = { repository, index, sha256, base: since, vanished: true };
    return judged.kind === 'clear' ? { ...base, kind: 'leaving' } : { ...base, ...judged };
  }
}

function pathOf({ repository, file }: IndexRow): string {
  return `${repository}/${file}`;
}
