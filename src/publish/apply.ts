/** Carries out the steps of a publish plan on the disk. Decides nothing; every step may be repeated. */
import { dirname, join } from 'node:path';
import { errnoOf } from '../errors.ts';
import { syncDirectory, writeFileDurable } from '../system/durable.ts';
import { diskFiles, type Files } from '../system/files.ts';
import { eachLimited } from '../system/limit.ts';
import type { Step } from './plan.ts';

/** Links made before anything else is awaited: enough to keep the thread pool busy, bounded for large trees. */
const linksAtOnce = 64;

/** Runs `steps` in order (neighbouring links side by side). Throws the signal's reason between steps once aborted; a publish has none: it is finished. */
export async function applySteps(
  root: string,
  steps: Iterable<Step>,
  signal?: AbortSignal,
  files: Files = diskFiles,
): Promise<void> {
  let links: (Step & { kind: 'link' })[] = [];
  const flush = async (): Promise<void> => {
    const now = links;
    links = [];
    await eachLimited(now, 8, async (step) => {
      const source = join(root, step.source);
      if (step.retained && (await isAbsent(files, source))) return;
      await linkOver(files, root, source, join(root, step.path));
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
    await applyStep(files, root, step);
  }
  await flush();
}

async function applyStep(files: Files, root: string, step: Exclude<Step, { kind: 'link' }>): Promise<void> {
  switch (step.kind) {
    case 'write':
      await withTemporary(files, root, async (temporary) => {
        await writeFileDurable(temporary, step.content, { mtimeSeconds: step.mtimeSeconds }, files);
        await files.rename(temporary, join(root, step.path));
      });
      return;
    case 'unlink':
      await unlinkDurable(files, join(root, step.path));
      return;
    case 'sync':
      await syncDirectory(join(root, step.directory), files);
      return;
    case 'switch':
      await switchPublic(files, root, step.tree, step.aside);
      return;
  }
}

async function unlinkDurable(files: Files, path: string): Promise<void> {
  await files.rm(path, { force: true });
  try {
    await syncDirectory(dirname(path), files);
  } catch (error) {
    // It came and went while the tree was not used: the tree never had it.
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
}

/** One rename of a relative link: whoever opens `public` sees the old tree or the new one. Only a directory put aside leaves an instant between two renames. */
async function switchPublic(files: Files, root: string, tree: string, aside: string | undefined): Promise<void> {
  const path = join(root, 'public');
  await withTemporary(files, root, async (temporary) => {
    await files.symlink(`trees/${tree}`, temporary);
    if (aside === undefined || !(await files.isDirectory(path))) {
      await files.rename(temporary, path);
      return;
    }
    await files.rename(path, join(root, aside));
    try {
      await files.rename(temporary, path);
    } catch (error) {
      await files.rename(join(root, aside), path);
      throw error;
    }
  });
  await syncDirectory(root, files);
}

/** Makes `path` another name of `source`, replacing what is there in one step; all absolute, below `root`. Not synced. */
export async function linkOver(files: Files, root: string, source: string, path: string): Promise<void> {
  try {
    await files.link(source, path);
  } catch (error) {
    const code = errnoOf(error);
    if (code !== 'ENOENT' && code !== 'EEXIST') throw error;
    if (code === 'ENOENT') await makePublicDirectory(dirname(path), files);
    await linkOverExisting(files, root, source, path);
  }
}

async function isAbsent(files: Files, path: string): Promise<boolean> {
  try {
    await files.stat(path);
    return false;
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    return true;
  }
}

async function linkOverExisting(files: Files, root: string, source: string, path: string): Promise<void> {
  const [wanted, present] = await Promise.all([files.stat(source), files.stat(path).catch(() => null)]);
  if (wanted.ino === present?.ino && wanted.dev === present.dev) return;
  await withTemporary(files, root, async (temporary) => {
    await files.link(source, temporary);
    await files.rename(temporary, path);
  });
}

/** Temporary names lie in `ingest/`, which is on the same file system and cleared at each start: never in a tree, where they would be served. */
async function withTemporary(files: Files, root: string, work: (path: string) => Promise<void>): Promise<void> {
  const path = join(root, 'ingest', `.publish-${counter++}`);
  await files.rm(path, { force: true });
  try {
    await work(path);
  } catch (error) {
    await files.rm(path, { force: true });
    throw error;
  }
}
let counter = 0;

/** Makes a directory, and what lacks above it, that a web server may read, whatever the umask. */
export async function makePublicDirectory(directory: string, files: Files = diskFiles): Promise<void> {
  const first = await files.mkdir(directory, { recursive: true });
  if (first === undefined) return;
  for (let made = directory; made.length >= first.length; made = dirname(made)) await files.chmod(made, 0o755);
}
