/** Finds packages of batches that are not published: in uploads that are looked at, and in the reasons for which some were held or refused. */
import { indexFileNames } from '../apk/entry.ts';
import type { BatchStory, UploadStory } from '../observe/explain.ts';
import type { Reason } from '../store/batches.ts';
import type { StoredBatch } from '../store/stories.ts';
import { toInstant } from '../system/instant.ts';
import type { StoryContext } from './explain.ts';

interface Asked {
  readonly repository: string | null;
  /** Of a package or a file. */
  readonly name: string;
}

interface FoundUpload {
  readonly path: string;
  readonly builder: string;
  readonly batch: StoredBatch | null;
}

const uploadsRead = 200;
const reasonsShown = 5;

/** Those that wait or are held now first, then those that were refused, newest first. */
export async function findUploads(context: StoryContext, asked: Asked): Promise<UploadStory[]> {
  const found = new Map<string, FoundUpload>();
  for (const one of [...staged(context, asked), ...refused(context, asked)]) {
    const key = JSON.stringify([one.batch?.id, one.path]);
    if (!found.has(key)) found.set(key, one);
  }
  const stories: UploadStory[] = [];
  for (const { path, builder, batch } of found.values()) {
    stories.push({
      kind: 'upload',
      path,
      builder,
      batch: batch && batch.id,
      state: batch === null ? 'waiting' : stateOfBatch(batch),
      at: batch && toInstant(batch.updatedAtMs),
      first_seen_at: batch && toInstant(batch.createdAtMs),
      reasons: batch === null ? [] : reasonsFor(path, batch.reasons),
      quarantine: batch?.state === 'rejected' ? await quarantineStory(context, batch.id) : null,
    });
  }
  return stories;
}

function staged({ store }: StoryContext, { repository, name }: Asked): FoundUpload[] {
  const batches = store.stories.unpublished();
  return store.stories.staged(name, uploadsRead).flatMap(({ candidate, builder, file }) => {
    const place = store.staging.placeOf(candidate);
    if (!place || (repository !== null && repository !== place.repository)) return [];
    const index = `${place.repository}/${place.indexFile}`;
    const holds = (b: StoredBatch): boolean =>
      b.builder === builder && !b.superseded && b.indexes.some(({ path }) => path === index);
    return [{ path: `${place.repository}/${file}`, builder, batch: batches.find(holds) ?? null }];
  });
}

function refused({ store }: StoryContext, { repository, name }: Asked): FoundUpload[] {
  return store.stories.unpublishedWith(name).flatMap((batch) => {
    const paths = new Set(batch.reasons.map((reason) => reason.path).filter((path) => isNamed(path, repository, name)));
    return [...paths].map((path) => ({ path, builder: batch.builder, batch }));
  });
}

/** True for the path of a file with that name, or of a package of that name: `NAME-VERSION-rN.apk`, where no version has a dash. */
function isNamed(path: string, repository: string | null, name: string): boolean {
  const slash = path.lastIndexOf('/');
  if (slash < 0 || (repository !== null && repository !== path.slice(0, slash))) return false;
  const file = path.slice(slash + 1);
  if (file === name || file === `${name}.apk`) return true;
  return file.startsWith(`${name}-`) && /^-[^-]+-r\d+\.apk$/.test(file.slice(name.length));
}

function reasonsFor(path: string, reasons: readonly Reason[]): Reason[] {
  const repository = path.slice(0, path.lastIndexOf('/'));
  const own = reasons.filter((reason) => reason.path === path);
  const places = [repository, ...indexFileNames.map((index) => `${repository}/${index}`)];
  const around = reasons.filter((reason) => places.includes(reason.path));
  const found = [...own, ...around];
  return (found.length > 0 ? found : reasons).slice(0, reasonsShown);
}

/** A batch that was held is superseded when something else lies in the inbox now. */
export function stateOfBatch({ state, superseded }: StoredBatch): UploadStory['state'] {
  return state === 'held' && superseded ? 'superseded' : state;
}

export async function quarantineStory({ quarantine }: StoryContext, id: string): Promise<BatchStory['quarantine']> {
  const found = await quarantine.find(id);
  return found && { path: found.path, until: toInstant(found.untilMs) };
}
