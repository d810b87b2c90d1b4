/** Carries out the steps of a publish plan on the disk. Decides nothing; every step may be repeated. */
import { chmod, link, lstat, mkdir, open, rename, rm, stat, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errnoOf } from '../errors.ts';
import { syncDirectory, writeFileDurable } from '../system/durable.ts';
import { eachLimited } from '../system/limit.ts';
import type { Step } from './plan.ts';

/** Links made before anything else is awaited: enough to keep the thread pool busy, bounded for large trees. */
const linksAtOnce = 64;

/** Runs `steps` in order (neighbouring links side by side). Throws the signal's reason between steps once aborted; a publish has none: it is finished. */
export async function applySteps(root: string, steps: Iterable<Step>, signal?: AbortSignal): Promise<void> {
  let links: (Step & { kind: 'link' })[] = [];
  const flush = async (): Promise<void> => {
    const now = links;
    links = [];
    await eachLimited(now, 8, async (step) => {
      await linkOver(root, join(root, step.source), join(root, step.path));
    });
  };
  for (const step of steps) {
    signal?.throwIfAborted();
    if (step.kind === 'link') {
      links.push(step);
      if (links.length >= linksAtOnce) await flush();
      continue;
    }
    await flush();
    await applyStep(root, step);
  }
  await flush();
}

async function applyStep(root: string, step: Exclude<Step, { kind: 'link' }>): Promise<void> {
  switch (step.kind) {
    case 'write':
      await withTemporary(root, async (temporary) => {
        await writeFileDurable(temporary, step.content, { mtimeSeconds: step.mtimeSeconds });
        await rename(temporary, join(root, step.path));
      });
      return;
    case 'unlink':
      await unlinkDurable(join(root, step.path));
      return;
    case 'sync':
      await syncDirectory(join(root, step.directory));
      return;
    case 'switch':
      await switchPublic(root, step.tree, step.aside);
      return;
  }
}

async function unlinkDurable(path: string): Promise<void> {
  await rm(path, { force: true });
  try {
    await syncDirectory(dirname(path));
  } catch (error) {
    // It came and went while the tree was not used: the tree never had it.
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
}

/** One rename of a relative link: whoever opens `public` sees the old tree or the new one. Only a directory put aside leaves an instant between two renames. */
async function switchPublic(root: string, tree: string, aside: string | undefined): Promise<void> {
  const path = join(root, 'public');
  await withTemporary(root, async (temporary) => {
    await symlink(`trees/${tree}`, temporary);
    const present = aside === undefined ? null : await lstat(path).catch(() => null);
    if (aside === undefined || present?.isDirectory() !== true) {
      await rename(temporary, path);
      return;
    }
    await rename(path, join(root, aside));
    try {
      await rename(temporary, path);
    } catch (error) {
      await rename(join(root, aside), path);
      throw error;
    }
  });
  await syncDirectory(root);
}

/** Makes `path` another name of `source`, replacing what is there in one step. */
async function linkOver(root: string, source: string, path: string): Promise<void> {
  try {
    await link(source, path);
  } catch (error) {
    const code = errnoOf(error);
    if (code !== 'ENOENT' && code !== 'EEXIST') throw error;
    if (code === 'ENOENT') await makePublicDirectory(dirname(path));
    await linkOverExisting(root, source, path);
  }
}

async function linkOverExisting(root: string, source: string, path: string): Promise<void> {
  const [wanted, present] = await Promise.all([stat(source), stat(path).catch(() => null)]);
  if (wanted.ino === present?.ino && wanted.dev === present.dev) return;
  await withTemporary(root, async (temporary) => {
    await link(source, temporary);
    await rename(temporary, path);
  });
}

/** Temporary names lie in `ingest/`, which is on the same file system and cleared at each start: never in a tree, where they would be served. */
async function withTemporary(root: string, work: (path: string) => Promise<void>): Promise<void> {
  const path = join(root, 'ingest', `.publish-${counter++}`);
  await rm(path, { force: true });
  try {
    await work(path);
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  }
}
let counter = 0;

/** Makes a directory, and what lacks above it, that a web server may read, whatever the umask. */
export async function makePublicDirectory(directory: string): Promise<void> {
  const first = await mkdir(directory, { recursive: true });
  if (first === undefined) return;
  for (let made = directory; made.length >= first.length; made = dirname(made)) await chmod(made, 0o755);
}

/** Gives a private copy the time that its published name will carry. */
export async function setMtimeDurable(path: string, mtimeSeconds: number): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.utimes(mtimeSeconds, mtimeSeconds);
    await handle.sync();
  } finally {
    await handle.close();
  }
}
