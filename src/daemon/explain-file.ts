/** Tells the life of one published package or index. */
import type { FileStory } from '../observe/explain.ts';
import type { GenerationEntry } from '../store/history.ts';
import type { Recall } from '../store/recalls.ts';
import type { StoredFile } from '../store/stories.ts';
import { toInstant } from '../system/clock.ts';
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
    uploaded_at: times.uploaded_at,
    verified: {
      at: times.verified_at,
      index: file.index,
      index_key: index?.signedBy ?? null,
      index_key_sha256: index?.signedKey ?? null,
      package_key: file.signedBy,
    },
    published: { generation: added, at: came && toInstant(came.atMs) },
    left:
      removed === null
        ? null
        : {
            generation: removed,
            at: left && toInstant(left.atMs),
            kept_until: left && file.kind === 'package' ? toInstant(left.atMs + graceMs) : null,
          },
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
