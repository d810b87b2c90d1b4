/** Tells the life of one batch: of an upload, or of what an operator made a generation of. */
import type { BatchStory } from '../observe/explain.ts';
import type { GenerationEntry } from '../store/history.ts';
import type { StoredBatch } from '../store/stories.ts';
import { toInstant } from '../system/instant.ts';
import { decisionsOf, rollbackOf, uploadTimes } from './explain-file.ts';
import { quarantineStory, stateOfBatch } from './explain-upload.ts';
import type { StoryContext } from './explain.ts';

const namesShown = 20;

/** Null: there is no such batch. */
export async function batchStory(context: StoryContext, id: string): Promise<BatchStory | null> {
  const { store } = context;
  const batch = store.stories.batch(id);
  const number = store.stories.generationOf(id);
  const entry = number === null ? null : store.history.generation(number);
  if (batch === null && entry === null) return null;
  const changes = number === null ? null : store.publishedChanges.of(number, namesShown);
  const times = uploadTimes(entry);
  return {
    kind: 'batch',
    id,
    builder: batch?.builder ?? null,
    state: batch === null ? 'published' : stateOfBatch(batch),
    first_seen_at: batch && toInstant(batch.createdAtMs),
    updated_at: batch && toInstant(batch.updatedAtMs),
    ...times,
    published: entry && { generation: entry.number, at: toInstant(entry.atMs) },
    indexes: indexesOf(batch, entry),
    changed_names: changes?.names ?? 0,
    changes: changes?.first ?? [],
    reasons: batch?.reasons ?? [],
    decisions: decisionsOf(store, id),
    rollback: rollbackOf(entry),
    quarantine: batch?.state === 'rejected' ? await quarantineStory(context, id) : null,
    mirrors: entry ? context.mirrors(repositoriesOf(entry), { added: entry.number, removed: null, recall: null }) : [],
  };
}

/** What the generation changed; what the upload holds where there is none yet. */
function indexesOf(batch: StoredBatch | null, entry: GenerationEntry | null): BatchStory['indexes'] {
  if (entry === null)
    return (batch?.indexes ?? []).map(({ path, sha256 }) => ({ path, change: null, sha256, signed_by: null }));
  return entry.indexes.map(({ path, change, sha256, signedBy }) => ({ path, change, sha256, signed_by: signedBy }));
}

function repositoriesOf({ indexes }: GenerationEntry): string[] {
  return indexes.map(({ path }) => path.slice(0, path.lastIndexOf('/')));
}
