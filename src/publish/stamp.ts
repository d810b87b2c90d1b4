/** Makes a verified batch ready for the journal: refuses one that was overtaken, gives each index the time under which it is published. */
import { join } from 'node:path';
import { OperationError } from '../errors.ts';
import type { GenerationStore, IndexRow } from '../store/generations.ts';
import type { RepositoryChange } from '../store/journal.ts';
import type { Store } from '../store/store.ts';
import { setMtimeDurable } from '../system/durable.ts';
import type { Files } from '../system/files.ts';
import type { IndexFacts } from '../trust/verify.ts';
import { nextMtimeSeconds } from './generation.ts';
import type { VerifiedBatch } from './ports.ts';

/** Throws OperationError STATE for a batch that must follow another generation than `current`, or of which a package was recalled. */
export function requireValid(store: Store, { changes, follows }: VerifiedBatch, current: number): void {
  if (follows !== undefined && follows !== current)
    throw new OperationError('STATE', `generation ${current} came out meanwhile: look again what is to be done`);
  if (store.recalls.stages(changes.map((change) => change.candidate)))
    throw new OperationError('STATE', 'a package was recalled since it was verified: the upload is looked at again');
}

type IndexRecord = RepositoryChange['index'];

/** What the journal records of one index: what was found out about it, and what it is here. */
export function indexRecord(
  facts: Omit<IndexFacts, 'mtimeSeconds'>,
  own: Pick<IndexRecord, 'file' | 'mtimeSeconds' | 'builder' | 'source'>,
): IndexRecord {
  const { sha256, size, packages, signedBy, signedKey, description, newestBuildTime } = facts;
  const key = signedKey === undefined ? {} : { signedKey };
  return { ...own, sha256, size, packages, signedBy, ...key, description, newestBuildTime };
}

/** What the journal records of each index; its private copy carries a time that no index before it had. */
export async function stampIndexes(
  root: string,
  generations: GenerationStore,
  batch: VerifiedBatch,
  nowMs: number,
  files: Files,
): Promise<RepositoryChange[]> {
  const changes: RepositoryChange[] = [];
  for (const { repository, indexFile, candidate, base, index, indexSource, builder } of batch.changes) {
    const previous: IndexRow | null = generations.indexOf(repository, indexFile);
    const mtimeSeconds = nextMtimeSeconds(nowMs, previous?.mtimeSeconds ?? null);
    await setMtimeDurable(join(root, indexSource), mtimeSeconds, files);
    const own = { file: indexFile, mtimeSeconds, builder: builder ?? batch.builder, source: indexSource };
    changes.push({ repository, candidate, base, index: indexRecord(index, own) });
  }
  return changes;
}
