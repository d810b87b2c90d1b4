/** Answers `explain`: gathers the whole life of what was asked for, from the store, the inboxes and the mirrors. */
import { z } from 'zod';
import { isInPart, type Part } from '../config/part.ts';
import type { Quarantine } from '../ingest/quarantine.ts';
import { type Explanation, type MirrorStory, mirrorStory, type Served, type Story } from '../observe/explain.ts';
import type { Status } from '../observe/status.ts';
import { firstOnRecord } from '../store/reached.ts';
import type { Store } from '../store/store.ts';
import { batchStory } from './explain-batch.ts';
import { fileStory } from './explain-file.ts';
import { findUploads } from './explain-upload.ts';

export interface ExplainDeps {
  readonly store: Store;
  readonly quarantine: Pick<Quarantine, 'find'>;
  readonly status: () => Status;
  readonly mirrors: () => readonly { readonly config: { readonly name: string; readonly part: Part } }[];
  /** How long a package is kept for clients after it left. */
  readonly graceMs: () => number;
}

/** What stories are made of. */
export interface StoryContext extends Pick<ExplainDeps, 'store' | 'quarantine'> {
  /** The generation that is served. */
  readonly newest: number;
  readonly graceMs: number;
  /** Where something in one of `repositories` stands on each mirror. */
  readonly mirrors: (repositories: readonly string[], when: Served) => MirrorStory[];
}

interface Answer {
  readonly status: number;
  readonly body: Explanation | { readonly message: string };
}

const storiesAtOnce = 50;

const explainBody = z.strictObject({
  what: z.string().min(1).max(4096),
  limit: z.int().min(1).max(storiesAtOnce),
});

export async function explain(deps: ExplainDeps, body: unknown): Promise<Answer> {
  const parsed = explainBody.safeParse(body);
  if (!parsed.success)
    return refuse(400, `expected a path, a package or a batch, and a limit of 1 to ${storiesAtOnce} stories`);
  const { what, limit } = parsed.data;
  const context = contextOf(deps);
  const found = (await explainBatch(context, what)) ?? (await explainFiles(context, what, limit));
  if (found.stories.length === 0) return refuse(404, nothingFound(deps.store, what));
  return { status: 200, body: { version: 1, asked: what, generation: context.newest, ...found } };
}

function contextOf({ store, quarantine, status, mirrors, graceMs }: ExplainDeps): StoryContext {
  const { generation: newest, mirrors: states } = status();
  const first = firstOnRecord(newest);
  const reached = Map.groupBy(store.reached.since(first), (row) => row.mirror);
  const parts = new Map(mirrors().map(({ config }) => [config.name, config.part]));
  return {
    store,
    quarantine,
    newest,
    graceMs: graceMs(),
    mirrors: (repositories, when) =>
      states.map((mirror) => {
        const part = parts.get(mirror.name);
        const takes = part === undefined || repositories.some((repository) => isInPart(part, repository));
        const { recalled } = store.mirrors.get(mirror.name);
        const rows = reached.get(mirror.name) ?? [];
        return mirrorStory({ mirror, takes, reached: rows, firstOnRecord: first, recalled }, when);
      }),
  };
}

type Found = Pick<Explanation, 'stories' | 'matches'>;

async function explainBatch(context: StoryContext, id: string): Promise<Found | null> {
  const story = await batchStory(context, id);
  return story && { stories: [story], matches: 1 };
}

async function explainFiles(context: StoryContext, what: string, limit: number): Promise<Found> {
  const asked = placeOf(what);
  const uploads = await findUploads(context, asked);
  const { files, total } = context.store.stories.files(asked, context.newest, limit);
  const stories: Story[] = [...uploads, ...files.map((file) => fileStory(context, file))];
  return { stories: stories.slice(0, limit), matches: uploads.length + total };
}

/** A path with or without its first slash, or a name. */
function placeOf(what: string): { readonly repository: string | null; readonly name: string } {
  const path = what.replace(/^(\.?\/)+/, '');
  const slash = path.lastIndexOf('/');
  return { repository: slash < 0 ? null : path.slice(0, slash), name: path.slice(slash + 1) };
}

function nothingFound(store: Store, what: string): string {
  const { name } = placeOf(what);
  const similar = name === '' ? [] : store.stories.similar(name);
  const hint = similar.length === 0 ? '' : `; there is ${similar.join(', ')}`;
  return `nothing is known of ${what}: expected REPOSITORY/FILE, NAME, NAME-VERSION or the id of a batch${hint}; lockstepd history and lockstepd status tell what there is`;
}

function refuse(status: number, message: string): Answer {
  return { status, body: { message } };
}
