/** The store as the stages see it: one connection to state.db, a set of queries for each noun. */
import { join } from 'node:path';
import { messageOf } from '../errors.ts';
import { BatchStore } from './batches.ts';
import { BrokerStore } from './brokers.ts';
import { ChangeStore } from './changes.ts';
import { DamageStore } from './damage.ts';
import { Database } from './database.ts';
import { DecisionStore } from './decisions.ts';
import { EventStore } from './events.ts';
import { GenerationStore } from './generations.ts';
import { HistoryStore } from './history.ts';
import { Journal } from './journal.ts';
import { LagStore } from './lag-samples.ts';
import { isDamage, setAside } from './corrupt.ts';
import { MirrorStateStore } from './mirror-states.ts';
import { MirrorStore } from './mirrors.ts';
import { PublishedChangeStore } from './published-changes.ts';
import { ReachedStore } from './reached.ts';
import { RecallStore } from './recalls.ts';
import { RetentionStore } from './retention.ts';
import { RollbackStore } from './rollbacks.ts';
import { StagingStore } from './staging.ts';
import { StoryStore } from './stories.ts';
import { SyncStore } from './syncs.ts';
import { TakeoverStore } from './takeover.ts';

export interface Store extends Disposable {
  readonly generations: GenerationStore;
  readonly journal: Journal;
  readonly staging: StagingStore;
  readonly changes: ChangeStore;
  readonly batches: BatchStore;
  readonly decisions: DecisionStore;
  readonly events: EventStore;
  readonly history: HistoryStore;
  readonly mirrors: MirrorStore;
  readonly mirrorStates: MirrorStateStore;
  readonly brokers: BrokerStore;
  readonly recalls: RecallStore;
  readonly retention: RetentionStore;
  readonly rollbacks: RollbackStore;
  readonly damage: DamageStore;
  readonly takeover: TakeoverStore;
  /** Why the state could not be written the last time; null when it could. */
  readonly writeProblem: () => string | null;
  readonly syncs: SyncStore;
  readonly reached: ReachedStore;
  readonly publishedChanges: PublishedChangeStore;
  readonly lag: LagStore;
  readonly stories: StoryStore;
}

/** The name of the database in the state directory. */
export const stateFile = 'state.db';

/**
 * As `openStore`; a damaged file is put aside and an empty store takes its place. `onAside` is told where it went and what was
 * wrong. Only who holds the lock of the directory may do this.
 */
export function openStoreAnyway(
  directory: string,
  nowMs: number,
  onAside: (aside: string, detail: string) => void,
): Store {
  try {
    return openStore(directory);
  } catch (error) {
    if (!isDamage(error)) throw error;
    onAside(setAside(join(directory, stateFile), nowMs), messageOf(error));
    return openStore(directory);
  }
}

/** Opens `state.db` in `directory`, creating it when it is not there. Throws OperationError STATE. */
export function openStore(directory: string): Store {
  return storeOn(Database.open(join(directory, stateFile)));
}

/** The nouns of a database, which goes with the store. */
export function storeOn(db: Database): Store {
  const events = new EventStore(db);
  return {
    generations: new GenerationStore(db),
    journal: new Journal(db, events),
    staging: new StagingStore(db),
    changes: new ChangeStore(db),
    batches: new BatchStore(db, events),
    events,
    decisions: new DecisionStore(db),
    history: new HistoryStore(db),
    mirrors: new MirrorStore(db),
    mirrorStates: new MirrorStateStore(db),
    brokers: new BrokerStore(db),
    recalls: new RecallStore(db),
    retention: new RetentionStore(db),
    rollbacks: new RollbackStore(db),
    damage: new DamageStore(db),
    takeover: new TakeoverStore(db),
    writeProblem: () => db.writeProblem,
    syncs: new SyncStore(db),
    reached: new ReachedStore(db),
    publishedChanges: new PublishedChangeStore(db),
    lag: new LagStore(db),
    stories: new StoryStore(db),
    [Symbol.dispose]: () => db[Symbol.dispose](),
  };
}
