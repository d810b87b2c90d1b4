/** Tells the life of one published package or index. */
import type { BatchStory, FileStory } from '../observe/explain.ts';
import type { GenerationEntry } from '../store/history.ts';
import type { Recall } from '../store/recalls.ts';
import type { Store } from '../store/store.ts';
import type { StoredFile } from '../store/stories.ts';
import { toInstant } from '../system/instant.ts';
import type { StoryContext } from './explain.ts';

export function fileStory(context: StoryContext, file: StoredFile): FileStory {
  const { store, graceMs } = context;
  const { repository, added, removed } = file;
  const came = store.history.generation(added);
  const left = removed === null ? null : store.history.generation(removed);
  const index = store.generations
    .indexesAt(added)
    .find((row) => row.repository === repository && row.file === file.index);
  const recall = file.present || file.identity === null ? null : store.recalls.of(file.identity, file.size);
  const batch = came && store.stories.batch(came.batch);
  const times = uploadTimes(came);
  return {
    kind: file.kind,
    path: `${repository}/${file.file}`,
    package: file.package,
    size: file.size,
    sha256: file.sha256,
    state: stateOf(file, recall),
    builder: index?.builder ?? came?.builder ?? null,
    batch: came?.batch ?? null,
    first_seen_at: batch && toInstant(batch.createdAtMs),
    uploaded_at: times.uploaded_at,
    verified: {
      at: times.verified_at,
      index: file.index,
      index_key: index?.signedBy ?? null,
      index_key_sha256: index?.signedKey ?? null,
      package_key: file.signedBy,
    },
    decisions: came ? decisionsOf(store, came.batch) : [],
    published: { generation: added, at: came && toInstant(came.atMs) },
    left:
      removed === null
        ? null
        : {
            generation: removed,
            at: left && toInstant(left.atMs),
            again: file.kind === 'package' ? store.stories.cameAgain(file, removed, context.newest) : null,
            kept_until: left && file.kind === 'package' ? toInstant(left.atMs + graceMs) : null,
          },
    rollback: rollbackOf(came),
    recall: recall && { at: toInstant(recall.atMs), who: recall.who, why: recall.why },
    mirrors: context.mirrors([repository], { added, removed, recall: recall?.id ?? null }),
  };
}

function stateOf(file: StoredFile, recall: Recall | null): FileStory['state'] {
  if (recall) return 'recalled';
  if (!file.present) return 'missing';
  if (file.removed !== null) {
    if (file.kind === 'index') return 'replaced';
    return file.pruned ? 'pruned' : 'kept';
  }
  return file.damaged ? 'damaged' : 'served';
}

/** When the upload of a generation changed last, and when all of it was verified; null where nobody measured it. */
export function uploadTimes(entry: GenerationEntry | null): {
  readonly uploaded_at: string | null;
  readonly verified_at: string | null;
} {
  const settleMs = entry?.times.settle ?? null;
  if (entry === null || settleMs === null) return { uploaded_at: null, verified_at: null };
  return { uploaded_at: toInstant(entry.atMs - settleMs), verified_at: toInstant(entry.atMs) };
}

/** What was decided about a batch, oldest first. */
export function decisionsOf(store: Store, batch: string): BatchStory['decisions'] {
  return store.stories
    .decisions(batch)
    .map(({ decision, atMs, who, why }) => ({ decision, at: toInstant(atMs), who, why }));
}

export function rollbackOf(entry: GenerationEntry | null): BatchStory['rollback'] {
  if (!entry?.rollback) return null;
  const { to, who, why } = entry.rollback;
  return { to, who, why };
}
