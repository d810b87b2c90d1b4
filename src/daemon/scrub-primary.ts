/** Reads the published tree again, compares it with what was verified, and mends what is wrong: from a good copy, else by taking it out. */
import { lstat, opendir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, messageOf, OperationError } from '../errors.ts';
import { mendTrees } from '../publish/mend.ts';
import { traceFile } from '../store/trace.ts';
import type { Publisher } from '../publish/publisher.ts';
import { isTemporary } from '../replicate/plan.ts';
import type { PublishedFile, TreeCursor } from '../store/damage.ts';
import type { Clock } from '../system/clock.ts';
import { toInstant } from '../system/instant.ts';
import { writeFileDurable } from '../system/durable.ts';
import { hashFile, type ReadPace } from '../system/read-paced.ts';
import { findGoodCopy, type SourceDeps } from './scrub-sources.ts';

export interface PrimaryDeps extends SourceDeps {
  readonly publisher: Publisher;
  readonly clock: Clock;
}

/** What goes on, for the status. */
export interface PrimaryEvents {
  readonly pace: ReadPace;
  total(files: number): void;
  checked(bytes: number): void;
  corrupt(): void;
  repaired(): void;
  /** A file of ours that was left over and is removed, or one that is not ours and stays. */
  stray(path: string, kind: 'temporary' | 'foreign'): void;
}

/** More files without any good copy in one scrub are no rot: the disk itself or the state is broken, and taking them out would empty the tree. */
const mostTakenOut = 50;
/** The file cannot be read as it should be; any other error says nothing about it. */
const rotten = ['ENOENT', 'ENOTDIR', 'ELOOP', 'EIO', 'ENXIO', 'EUCLEAN', 'EBADMSG'];

/** Each page is read from the tree that is served then: a publish in between neither waits nor disturbs. Throws OperationError STATE. */
export async function scrubPrimary(deps: PrimaryDeps, events: PrimaryEvents, signal: AbortSignal): Promise<void> {
  const { generations, damage } = deps.store;
  const first = generations.current();
  if (!first) return;
  const indexes = generations.indexesAt(first.number);
  events.total(damage.countPackages(first.number) + indexes.length);
  let takenOut = 0;
  const check = async (files: readonly PublishedFile[]): Promise<void> => {
    for (const file of files) {
      if (takenOut > mostTakenOut)
        throw new OperationError(
          'STATE',
          `more than ${mostTakenOut} damaged files without a good copy: nothing more is taken out: check the disk and state.db, then run lockstepd scrub`,
        );
      if ((await checkFile(deps, events, file, signal)) === 'lost') takenOut++;
    }
  };
  await check(indexes.map((index) => ({ ...index, kind: 'index' as const })));
  let cursor: TreeCursor | null = { added: 0, id: 0 };
  while (cursor !== null) {
    const page = damage.packagesAfter(cursor, generations.current()?.number ?? first.number);
    await check(page.files);
    cursor = page.next;
  }
  await lookForStrays(deps, events, signal);
}

/** Tries again to mend what is damaged, and forgets what nothing needs any more. */
export async function mendDamaged(deps: PrimaryDeps, signal: AbortSignal, repaired: () => void): Promise<void> {
  for (const file of deps.store.damage.all()) {
    signal.throwIfAborted();
    const at = deps.store.generations.current()?.number ?? 0;
    if (deps.store.damage.expected(file.repository, file.file, at)?.sha256 !== file.sha256)
      deps.store.damage.remove(file);
    else if (await mend(deps, file, signal)) repaired();
  }
}

async function checkFile(
  deps: PrimaryDeps,
  events: PrimaryEvents,
  file: PublishedFile,
  signal: AbortSignal,
): Promise<'sound' | 'repaired' | 'lost'> {
  const lease = deps.publisher.lease();
  if (!lease) return 'sound';
  let found: { readonly problem: string | null; readonly ino: number | null };
  try {
    found = await lookAt(join(lease.directory, file.repository, file.file), file, events.pace, signal);
  } finally {
    lease.release();
  }
  events.checked(file.size);
  if (found.problem === null || !(await noteDamage(deps, file, found.problem, found.ino))) return 'sound';
  events.corrupt();
  if (!(await mend(deps, file, signal))) return 'lost';
  events.repaired();
  return 'repaired';
}

async function lookAt(
  path: string,
  file: PublishedFile,
  pace: ReadPace,
  signal: AbortSignal,
): Promise<{ readonly problem: string | null; readonly ino: number | null }> {
  try {
    const { sha256, size, ino } = await hashFile(path, { pace, signal });
    if (sha256 === file.sha256) return { problem: null, ino };
    const detail = size === file.size ? `SHA-256 is ${sha256}, was ${file.sha256}` : `${size} bytes, were ${file.size}`;
    return { problem: detail, ino };
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof RangeError) && !rotten.includes(errnoOf(error) ?? '')) throw error;
    return { problem: messageOf(error), ino: null };
  }
}

/** False when the file was replaced or pruned while it was read: then nothing is wrong. From here on it is not pushed. */
async function noteDamage(
  deps: PrimaryDeps,
  file: PublishedFile,
  detail: string,
  ino: number | null,
): Promise<boolean> {
  const { store, publisher, root, clock, log } = deps;
  return publisher.exclusively(async () => {
    const current = store.generations.current();
    if (!current) return false;
    if (store.damage.expected(file.repository, file.file, current.number)?.sha256 !== file.sha256) return false;
    const path = join(root, 'trees', current.tree, file.repository, file.file);
    const there = await lstat(path).catch(() => null);
    if (ino !== null && there?.ino !== ino) return false;
    if (ino === null && there?.isFile() && detail.startsWith('ENOENT')) return false;
    const known = store.damage.all().some((d) => d.repository === file.repository && d.file === file.file);
    store.damage.add({ ...file, foundAtMs: clock.now(), detail });
    if (!known) log.error('scrub_corrupt', { path: `${file.repository}/${file.file}`, detail });
    return true;
  });
}

/** True when the file is as it must be again, in every tree. */
async function mend(deps: PrimaryDeps, file: PublishedFile, signal: AbortSignal): Promise<boolean> {
  const { store, publisher, root, clock, log } = deps;
  const path = `${file.repository}/${file.file}`;
  const good = await findGoodCopy(deps, file, signal);
  try {
    // The name that batches have: the quarantine's limits count for it.
    const id = `${toInstant(clock.now()).replaceAll(/[-:Z]/g, '')}-scrub-${file.sha256.slice(0, 8)}`;
    const quarantine = join(root, 'quarantine', id);
    await publisher.exclusively(async () => {
      signal.throwIfAborted();
      const digest = (at: string): Promise<string | null> => digestOf(at, signal);
      await mendTrees({ root, store, file, good: good?.path ?? null, digest, quarantine });
      if (good !== null) store.damage.remove(file);
    });
    await noteReason(quarantine, { path, ...file });
  } finally {
    if (good !== null) await rm(good.path, { force: true });
  }
  if (good !== null) log.info('scrub_repaired', { path, from: good.from });
  else log.error('scrub_unrepaired', { path, hint: 'upload it again, or publish an index without it' });
  return good !== null;
}

async function noteReason(quarantine: string, reason: object): Promise<void> {
  try {
    const text = JSON.stringify({ reason: 'damaged on our disk', ...reason }, null, 1);
    await writeFileDurable(join(quarantine, 'reason.json'), `${text}\n`, { mode: 0o640 });
  } catch (error) {
    // Nothing was put there: the file was gone, or is taken out already.
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
}

async function digestOf(path: string, signal: AbortSignal): Promise<string | null> {
  try {
    return (await hashFile(path, { signal })).sha256;
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof RangeError || rotten.includes(errnoOf(error) ?? '')) return null;
    throw error;
  }
}

/** Names in the served tree that no index brought there. */
async function lookForStrays(deps: PrimaryDeps, events: PrimaryEvents, signal: AbortSignal): Promise<void> {
  const lease = deps.publisher.lease();
  if (!lease) return;
  try {
    await walk('');
  } finally {
    lease.release();
  }

  async function walk(directory: string): Promise<void> {
    const names = await opendir(join(lease?.directory ?? '', directory));
    for await (const entry of names) {
      signal.throwIfAborted();
      const path = directory === '' ? entry.name : `${directory}/${entry.name}`;
      if (entry.isDirectory()) await walk(path);
      else if (path !== traceFile && !isExpected(directory, entry.name)) await stray(path, entry.name);
    }
  }

  function isExpected(directory: string, name: string): boolean {
    const at = deps.store.generations.current()?.number ?? 0;
    return deps.store.damage.expected(directory, name, at) !== null;
  }

  async function stray(path: string, name: string): Promise<void> {
    const ours = isTemporary(name) || /^\.lockstepd-\d+-\d+\.tmp$/.test(name);
    if (ours) await rm(join(lease?.directory ?? '', path), { force: true });
    events.stray(path, ours ? 'temporary' : 'foreign');
  }
}
