/** The store as the stages see it: one connection to state.db, a set of queries for each noun. */
import { join } from 'node:path';
import { BatchStore } from './batches.ts';
import { ChangeStore } from './changes.ts';
import { DamageStore } from './damage.ts';
import { Database } from './database.ts';
import { DecisionStore } from './decisions.ts';
import { GenerationStore } from './generations.ts';
import { HistoryStore } from './history.ts';
import { Journal } from './journal.ts';
import { MirrorStore } from './mirrors.ts';
import { RecallStore } from './recalls.ts';
import { RetentionStore } from './retention.ts';
import { RollbackStore } from './rollbacks.ts';
import { StagingStore } from './staging.ts';

export interface Store extends Disposable {
  readonly generations: GenerationStore;
  readonly journal: Journal;
  readonly staging: StagingStore;
  readonly changes: ChangeStore;
  readonly batches: BatchStore;
  readonly decisions: DecisionStore;
  readonly history: HistoryStore;
  readonly mirrors: MirrorStore;
  readonly recalls: RecallStore;
  readonly retention: RetentionStore;
  readonly rollbacks: RollbackStore;
  readonly damage: DamageStore;
}

/** Opens `state.db` in `directory`, creating it when it is not there. Throws OperationError STATE. */
export function openStore(directory: string): Store {
  const db = Database.open(join(directory, 'state.db'));
  return {
    generations: new GenerationStore(db),
    journal: new Journal(db),
    staging: new StagingStore(db),
    changes: new ChangeStore(db),
    batches: new BatchStore(db),
    decisions: new DecisionStore(db),
    history: new HistoryStore(db),
    mirrors: new MirrorStore(db),
    recalls: new RecallStore(db),
    retention: new RetentionStore(db),
    rollbacks: new RollbackStore(db),
    damage: new DamageStore(db),
    [Symbol.dispose]: () => db[Symbol.dispose](),
  };
}
