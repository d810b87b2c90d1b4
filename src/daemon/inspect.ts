/** What an operator may look at over the unix socket, a bounded piece at a time: what a batch would change, and the history. */
import { z } from 'zod';
import { previewIndex, type IndexPreview } from '../ingest/preview.ts';
import type { OpenInbox } from '../ingest/ports.ts';
import { type HistoryPage, historyView } from '../observe/history.ts';
import { type BatchPreview, previewView } from '../observe/preview.ts';
import { newestHistory } from '../store/history.ts';
import type { Store } from '../store/store.ts';

export interface InspectDeps {
  readonly store: Store;
  /** Null when no such builder is configured. */
  readonly openInbox: (builder: string) => OpenInbox | null;
}

interface Answer {
  readonly status: number;
  readonly body: BatchPreview | HistoryPage | { readonly message: string };
}

const indexesAtOnce = 10;
const namesLimit = 1000;
const entriesAtOnce = 100;

const previewBody = z.strictObject({
  batch: z.string(),
  /** Names of each kind of change. */
  limit: z.int().min(0).max(namesLimit),
  /** The last index of the piece before. */
  after: z.string().nullable(),
});
const historyBody = z.strictObject({
  limit: z.int().min(1).max(entriesAtOnce),
  before: z.strictObject({ generation: z.number(), decision: z.number(), recall: z.number() }).nullable(),
});

/** The next indexes of a batch that is not published. */
export async function preview(deps: InspectDeps, body: unknown): Promise<Answer> {
  const parsed = previewBody.safeParse(body);
  if (!parsed.success)
    return refuse(400, `a preview needs the id of a batch and a limit of at most ${namesLimit} names`);
  const { batch: id, limit, after } = parsed.data;
  const batch = deps.store.batches.get(id);
  if (!batch) return refuse(404, `no batch ${id}: status lists the open ones`);
  if (batch.state === 'published')
    return refuse(409, `batch ${id} is published as generation ${batch.generation}: see lockstepd history`);
  const rest = batch.repositories.filter(({ index }) => after === null || index > after);
  const piece = rest.sort((a, b) => (a.index < b.index ? -1 : 1)).slice(0, indexesAtOnce);
  const open = deps.openInbox(batch.builder);
  const previews: IndexPreview[] = [];
  for (const { index, sha256 } of piece) {
    const found = open && (await previewIndex(open, { path: index, sha256 }, deps.store, limit));
    if (found) previews.push(found);
  }
  const next = rest.length > piece.length ? (piece.at(-1)?.index ?? null) : null;
  return { status: 200, body: previewView(batch, previews, next) };
}

/** The next entries of the history, newest first. */
export function history(deps: InspectDeps, body: unknown): Answer {
  const parsed = historyBody.safeParse(body);
  if (!parsed.success)
    return refuse(400, `the history needs a limit of 1 to ${entriesAtOnce} entries and where to begin`);
  const { limit, before } = parsed.data;
  return { status: 200, body: historyView(deps.store.history.page(before ?? newestHistory, limit)) };
}

function refuse(status: number, message: string): Answer {
  return { status, body: { message } };
}
