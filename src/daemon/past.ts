/** Keeps what the status page tells of the past: the lag of each mirror over a week, and how the last generations spread. */
import { isInPart } from '../config/part.ts';
import type { MirrorConfig } from '../config/mirror-schema.ts';
import { messageOf } from '../errors.ts';
import { LagHistory, lagRanges, lagToKeep } from '../observe/lag-history.ts';
import { propagationView, type PublishedFacts, type RecentHistory } from '../observe/propagation.ts';
import type { StatusFacts } from '../observe/status.ts';
import type { GenerationEntry } from '../store/history.ts';
import type { Store } from '../store/store.ts';
import type { Clock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';

interface PastDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  readonly mirrors: () => readonly { readonly config: Pick<MirrorConfig, 'name' | 'part'> }[];
}

const saveEveryMs = 60_000;
const generationsShown = 10;
const namesShown = 20;

export class Past {
  readonly #deps: PastDeps;
  readonly #lag: LagHistory;
  #savedAt: number;
  /** What does not change any more, of the generations that were shown last. */
  #published: ReadonlyMap<number, PublishedFacts> = new Map();

  constructor(deps: PastDeps) {
    this.#deps = deps;
    this.#lag = new LagHistory(deps.store.lag.all());
    this.#savedAt = deps.clock.monotonic();
  }

  /** Notes the lag of each mirror; to be called every few seconds. Written down at most once a minute. */
  note({ generation, mirrors }: StatusFacts): void {
    const { clock } = this.#deps;
    const nowMs = clock.now();
    if (generation > 0) {
      for (const mirror of mirrors) {
        const lag = lagToKeep(mirror, nowMs);
        if (lag !== null) this.#lag.note(mirror.name, lag, nowMs);
      }
    }
    if (clock.monotonic() - this.#savedAt >= saveEveryMs) this.save();
  }

  /** Writes down what is not yet; what could not be written, on a full disk for instance, is kept for the next time. */
  save(): void {
    const { store, clock, log } = this.#deps;
    const nowMs = clock.now();
    this.#savedAt = clock.monotonic();
    this.#lag.forget(nowMs);
    const samples = this.#lag.unsaved;
    if (samples.length === 0) return;
    try {
      store.lag.save(samples, lagRanges(nowMs));
      this.#lag.saved();
    } catch (error) {
      log.error('lag_not_recorded', { detail: messageOf(error) });
    }
  }

  recent(): RecentHistory {
    const { store, clock, mirrors } = this.#deps;
    const configs = mirrors().map(({ config }) => config);
    const entries = store.history.newest(generationsShown);
    this.#published = new Map(
      entries.map((entry) => [entry.number, this.#published.get(entry.number) ?? publishedFacts(store, entry)]),
    );
    const generations = [...this.#published.values()];
    const reached = store.reached.since(generations.at(-1)?.generation ?? 0);
    const taking = configs.map(({ name, part }) => ({ name, takes: (path: string) => isInPart(part, path) }));
    return {
      version: 1,
      lag: this.#lag.series(
        configs.map(({ name }) => name),
        clock.now(),
      ),
      propagation: propagationView(generations, taking, reached),
    };
  }
}

function publishedFacts(store: Store, entry: GenerationEntry): PublishedFacts {
  const { names, first } = store.publishedChanges.of(entry.number, namesShown);
  const builders = store.generations.indexesAt(entry.number).filter(({ since }) => since === entry.number);
  return {
    generation: entry.number,
    builder: entry.builder ?? builders[0]?.builder ?? null,
    batch: entry.batch,
    publishedAtMs: entry.atMs,
    settleMs: entry.times.settle,
    publishMs: entry.times.publish,
    added: entry.added,
    removed: entry.removed,
    repositories: [...new Set(entry.indexes.map(({ path }) => path.slice(0, path.lastIndexOf('/'))))],
    changedNames: names,
    changes: first,
    rollback: entry.rollback && { to: entry.rollback.to, who: entry.rollback.who, why: entry.rollback.why },
  };
}
