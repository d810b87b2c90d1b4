/** Goes back to an older generation, prunes, and recalls packages, when an operator says so over the unix socket. */
import { z } from 'zod';
import { messageOf, OperationError } from '../errors.ts';
import type { ControlHandler } from '../observe/server.ts';
import type { PruneForecast } from '../publish/prune.ts';
import { type Dependants, findDependants } from '../publish/dependants.ts';
import type { Publisher } from '../publish/publisher.ts';
import { type Missing, prepareRollback, type RollbackInbox, type RollbackStep } from '../publish/rollback.ts';
import type { HeldFile } from '../store/recalls.ts';
import type { Store } from '../store/store.ts';
import { writeProblemOf } from '../store/writable.ts';
import type { Clock } from '../system/clock.ts';
import { Mutex } from '../system/limit.ts';
import type { Log } from '../system/log.ts';
import type { Verifier } from '../trust/verify.ts';

export interface OperateDeps {
  readonly root: string;
  readonly store: Store;
  readonly publisher: Publisher;
  readonly verifier: Verifier;
  readonly clock: Clock;
  readonly log: Log;
  /** False until the last run is recovered, and once the daemon stops. */
  readonly ready: () => boolean;
  readonly mirrorNames: () => readonly string[];
  /** Free space that nothing may use up, in bytes. */
  readonly reserveBytes: () => number;
  readonly inboxOf: (builder: string) => RollbackInbox | null;
  /** Mirrors and inboxes look anew at what is served. */
  readonly servedChanged: () => void;
}

/** What a rollback did, or would do. */
export interface RollbackAnswer {
  readonly message: string;
  /** The generation that it made; null: none. */
  readonly generation: number | null;
  readonly steps: readonly RollbackStep[];
  readonly missing: readonly Missing[];
  readonly missing_count: number;
}

/** What a recall did, or would do. */
export interface RecallAnswer {
  readonly message: string;
  readonly files: readonly HeldFile[];
  /** Served indexes that name a file that is gone. */
  readonly broken_indexes: readonly string[];
  /** Served packages that need what goes; null: not looked for, because nothing goes. */
  readonly dependants: Dependants | null;
  readonly mirrors: readonly string[];
}

/** What a prune did, or would do. */
export interface PruneAnswer extends PruneForecast {
  readonly message: string;
}

const text = z.string().max(1000);
const rollbackBody = z.strictObject({
  to: z.int().min(1),
  repository: text.nullable(),
  who: text.min(1),
  why: text.min(1),
  dry_run: z.boolean(),
});
const recallBody = z.strictObject({
  package: text.min(1),
  all: z.boolean(),
  who: text.min(1),
  why: text.min(1),
  dry_run: z.boolean(),
});
const pruneBody = z.strictObject({ dry_run: z.boolean() });

const filesShown = 20;
/** Files that one recall may take back. */
const recallLimit = 1000;
const stepsShown = 200;

export function operationHandlers(deps: OperateDeps): [string, ControlHandler][] {
  const oneAtATime = new Mutex();
  const handle =
    <T>(schema: z.ZodType<T>, usage: string, work: (deps: OperateDeps, body: T) => Promise<Answer>): ControlHandler =>
    async (body) => {
      const parsed = schema.safeParse(body);
      if (!parsed.success) return { status: 400, body: { message: usage } };
      if (!deps.ready()) return { status: 503, body: { message: 'the daemon starts or stops: try again in a moment' } };
      return oneAtATime.run(async () => {
        try {
          return await work(deps, parsed.data);
        } catch (error) {
          const known = error instanceof OperationError;
          if (!known) deps.log.error('operation_failed', { detail: messageOf(error) });
          const message = writeProblemOf(error) ?? messageOf(error);
          return { status: known ? 409 : 500, body: { message } };
        }
      });
    };
  return [
    ['rollback', handle(rollbackBody, 'a rollback needs a generation, who goes back and why', rollback)],
    ['prune', handle(pruneBody, 'a prune is dry or not', prune)],
    ['recall', handle(recallBody, 'a recall needs a package, who takes it back and why', recall)],
  ];
}

interface Answer {
  readonly status: number;
  readonly body: { readonly message: string } | RollbackAnswer | RecallAnswer | PruneAnswer;
}

async function rollback(
  deps: OperateDeps,
  { to, repository, who, why, dry_run: dryRun }: z.output<typeof rollbackBody>,
): Promise<Answer> {
  const { clock, log, publisher, store } = deps;
  const stamp = new Date(clock.now()).toISOString().slice(0, 19).replaceAll(/[-:]/g, '');
  const id = uniqueId(`${stamp}-rollback-${to}`, (candidate) => store.rollbacks.get(candidate) !== null);
  const prepared = await prepareRollback({ id, target: to, repository }, { ...deps, archive: publisher.archive });
  let outcome: Parameters<typeof prepared.dispose>[0] = 'not begun';
  try {
    const { batch, missing, missingCount } = prepared;
    const told = { steps: prepared.steps.slice(0, stepsShown), missing, missing_count: missingCount };
    const answer = (status: number, message: string, generation: number | null = null): Answer => ({
      status,
      body: { message, generation, ...told },
    });
    const where = repository === null ? `generation ${to}` : `${repository} of generation ${to}`;
    if (batch === null)
      return answer(409, `cannot go back to ${where}: ${missingCount} of its files are missing; nothing was changed`);
    if (batch.changes.length + batch.removals.length === 0)
      return answer(409, `${where} is what is served already; nothing was changed`);
    if (dryRun) return answer(200, `would go back to ${where}; nothing was changed`);
    store.rollbacks.add({ batch: id, target: to, repository, who, why, atMs: clock.now() });
    try {
      outcome = 'failed';
      const generation = await publisher.publish(batch);
      outcome = 'published';
      log.warn('rolled_back', { to, generation: generation.number, repository, who, why });
      deps.servedChanged();
      return answer(200, `${where} is generation ${generation.number} now`, generation.number);
    } catch (error) {
      // While the generation is still open its next recovery may finish it.
      if (store.journal.pending()?.batch !== id) store.rollbacks.remove(id);
      throw error;
    }
  } finally {
    await prepared.dispose(outcome);
  }
}

function uniqueId(base: string, taken: (id: string) => boolean): string {
  for (let n = 1; ; n++) {
    const id = n === 1 ? base : `${base}-${n}`;
    if (!taken(id)) return id;
  }
}

async function prune(deps: OperateDeps, { dry_run: dryRun }: z.output<typeof pruneBody>): Promise<Answer> {
  const forecast = await deps.publisher.forecastPrune(filesShown);
  if (dryRun) return { status: 200, body: { message: 'nothing was changed', ...forecast } };
  const files = await deps.publisher.prune();
  deps.servedChanged();
  deps.log.info('pruned', { files, asked: true });
  return { status: 200, body: { message: `pruned ${files} files; mirrors follow by themselves`, ...forecast } };
}

async function recall(
  deps: OperateDeps,
  { package: asked, all, who, why, dry_run: dryRun }: z.output<typeof recallBody>,
): Promise<Answer> {
  const { clock, log, publisher, store } = deps;
  const files = store.recalls.find(asked, recallLimit + 1);
  // Also those of which nothing is known: they may hold it all the same.
  const mirrors = deps.mirrorNames();
  const brokenIndexes = [...new Set(files.flatMap((file) => file.indexes))];
  const answer = (status: number, message: string, dependants: Dependants | null = null): Answer => ({
    status,
    body: { message, files: files.slice(0, filesShown), broken_indexes: brokenIndexes, dependants, mirrors },
  });
  if (files.length === 0)
    return answer(404, `nothing that is held is called ${asked}: expected NAME, NAME-VERSION or REPOSITORY/FILE`);
  if (files.length > recallLimit)
    return answer(409, `${asked} means more than ${recallLimit} files: name a version, or REPOSITORY/FILE`);
  if (files.length > 1 && !all)
    return answer(409, `${asked} means ${files.length} files: name one as REPOSITORY/FILE, or take all with --all`);
  if (dryRun)
    return answer(200, `would recall ${files.length} files; nothing was changed`, await dependantsOf(files, deps));
  store.recalls.add({ asked, who, why, atMs: clock.now() }, files);
  await publisher.recall();
  log.warn('recalled', { asked, files: files.length, who, why, broken_indexes: brokenIndexes });
  deps.servedChanged();
  // Only now: whatever the indexes hold, what must go is gone.
  const dependants = await dependantsOf(files, deps);
  return answer(
    200,
    `recalled ${files.length} files; mirrors follow, those that are down when they come back`,
    dependants,
  );
}

async function dependantsOf(files: readonly HeldFile[], deps: OperateDeps): Promise<Dependants | null> {
  const lease = deps.publisher.lease();
  if (lease === null) return null;
  try {
    const { directory, generation } = lease;
    const indexes = deps.store.generations.indexesAt(generation);
    return await findDependants(files, { directory, indexes, wanted: deps.ready });
  } finally {
    lease.release();
  }
}
