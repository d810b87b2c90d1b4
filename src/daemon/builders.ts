/** Clears up after builders that have no inbox any more. */
import { join } from 'node:path';
import type { Config, InboxConfig } from '../config/schema.ts';
import type { BatchStore } from '../store/batches.ts';
import { removeTree } from '../system/remove-tree.ts';

/** Of builders that `config` does not name, no batch stays open; of those in `before`, no private copy stays on the disk. */
export async function forgetBuilders(
  { root, inboxes }: Config,
  before: readonly InboxConfig[],
  batches: BatchStore,
): Promise<void> {
  const builders = inboxes.map((inbox) => inbox.builder);
  batches.keepOpenOnlyOf(builders);
  for (const { builder } of before) if (!builders.includes(builder)) await removeTree(join(root, 'ingest', builder));
}
