/** Looks for a good copy of a damaged file: in our other trees, in the inboxes, at the mirrors, what costs least first. What it returns was read, hashed and verified. */
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { MirrorConfig } from '../config/mirror-schema.ts';
import type { InboxConfig } from '../config/schema.ts';
import { messageOf } from '../errors.ts';
import { Inbox } from '../ingest/walk.ts';
import { createFetch, type FileFetch } from '../replicate/fetch.ts';
import type { PublishedFile } from '../store/damage.ts';
import type { Store } from '../store/store.ts';
import { download } from '../system/download.ts';
import { finishFile, makeDirectoryDurable, setMtimeDurable } from '../system/durable.ts';
import type { Log } from '../system/log.ts';
import { removeTree } from '../system/remove-tree.ts';
import type { Verifier } from '../trust/verify.ts';

export interface SourceDeps {
  readonly root: string;
  readonly store: Store;
  readonly verifier: Verifier;
  readonly inboxes: () => readonly InboxConfig[];
  readonly mirrors: () => readonly MirrorConfig[];
  /** Does `work` on the mirror's account when no push is in its way; throws for one that cannot be reached now. */
  readonly atMirror: (
    mirror: MirrorConfig,
    work: (signal: AbortSignal) => Promise<void>,
    signal: AbortSignal,
  ) => Promise<void>;
  readonly log: Log;
}

const stallMs = 30_000;
const copyBytes = 256 * 1024;
const fileFlags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** A verified copy of `file` below `ingest/`, synced, with its time; null when nobody has one. The caller removes it. */
export async function findGoodCopy(
  deps: SourceDeps,
  file: PublishedFile,
  signal: AbortSignal,
): Promise<{ readonly path: string; readonly from: string } | null> {
  const directory = join(deps.root, 'ingest', '.scrub');
  await makeDirectoryDurable(directory, 0o700);
  const path = join(directory, 'good');
  for await (const { from, take } of sources(deps, file, join(directory, 'fetched'), signal)) {
    signal.throwIfAborted();
    try {
      await rm(path, { force: true });
      if (await take((handle) => copyVerified(deps, file, handle, path, signal))) return { path, from };
    } catch (error) {
      signal.throwIfAborted();
      deps.log.info('scrub_source_failed', {
        path: `${file.repository}/${file.file}`,
        from,
        detail: messageOf(error),
      });
    }
  }
  await rm(path, { force: true });
  return null;
}

type Use = (handle: FileHandle) => Promise<boolean>;
interface Source {
  readonly from: string;
  /** Opens the candidate and gives it to `use`; false when there is none. */
  readonly take: (use: Use) => Promise<boolean>;
}

async function* sources(
  deps: SourceDeps,
  file: PublishedFile,
  fetched: string,
  signal: AbortSignal,
): AsyncGenerator<Source> {
  const relative = `${file.repository}/${file.file}`;
  for (const { name } of deps.store.generations.trees())
    yield { from: `tree ${name}`, take: (use) => takeLocal(join(deps.root, 'trees', name, relative), use) };
  for (const inbox of deps.inboxes())
    yield { from: `inbox ${inbox.builder}`, take: (use) => takeUploaded(inbox.path, file, use) };
  for (const mirror of deps.mirrors()) {
    const from = `mirror ${mirror.name}`;
    const { transport, url } = mirror;
    if (transport.type === 'directory') yield { from, take: (use) => takeLocal(join(transport.path, relative), use) };
    else if (url !== null) yield { from, take: (use) => takeServed(urlOf(url, relative), file, fetched, use, signal) };
  }
  for (const mirror of deps.mirrors()) {
    const account = createFetch(mirror.transport);
    if (account === null) continue;
    yield { from: `mirror ${mirror.name}`, take: (use) => takeSent(deps, mirror, account, file, fetched, use, signal) };
  }
}

async function takeLocal(path: string, use: Use): Promise<boolean> {
  await using handle = await open(path, fileFlags);
  return await use(handle);
}

async function takeUploaded(path: string, file: PublishedFile, use: Use): Promise<boolean> {
  await using inbox = await Inbox.open(path);
  await using directory = (await inbox?.directory(file.repository.split('/'))) ?? null;
  const opened = await directory?.openFile(file.file);
  if (opened?.kind !== 'file') return false;
  await using handle = opened.handle;
  return await use(handle);
}

async function takeServed(
  url: string,
  file: PublishedFile,
  fetched: string,
  use: Use,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    await using handle = await open(fetched, 'w+', 0o600);
    for await (const chunk of download(url, { maxBytes: file.size, stallMs, signal })) await handle.writeFile(chunk);
    return await use(handle);
  } finally {
    await rm(fetched, { force: true });
  }
}

/** Over the account that we push with: it may be refused there, and costs more than a web server. */
// oxlint-disable-next-line max-params -- one caller, above
async function takeSent(
  deps: SourceDeps,
  mirror: MirrorConfig,
  account: FileFetch,
  file: PublishedFile,
  fetched: string,
  use: Use,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    await removeTree(fetched);
    await mkdir(fetched, { mode: 0o700 });
    const path = `${file.repository}/${file.file}`;
    await deps.atMirror(mirror, (inner) => account.fetch(path, file.size, fetched, { signal: inner }), signal);
    await using handle = await open(join(fetched, basename(file.file)), fileFlags);
    return await use(handle);
  } finally {
    await account.close();
    await removeTree(fetched);
  }
}

/** The address of a file of a mirror. */
export function urlOf(base: string, path: string): string {
  return new URL(path.split('/').map(encodeURIComponent).join('/'), base).href;
}

/** True when `handle` holds exactly the bytes that were verified when the file came in; they are then at `path`. */
async function copyVerified(
  deps: SourceDeps,
  file: PublishedFile,
  handle: FileHandle,
  path: string,
  signal: AbortSignal,
): Promise<boolean> {
  const stat = await handle.stat();
  if (!stat.isFile() || stat.size !== file.size) return false;
  // The bytes of an index were verified under this digest: they need no keys again, which may be others by now.
  if (file.kind === 'index') return copyHashed(file, handle, path, signal);
  const verdict = await deps.verifier.verifyPackage({
    sourceFd: handle.fd,
    destination: path,
    entry: null,
    keyring: { keys: [] },
    packageSignatures: 'ignore',
    ignoreLinks: true,
    inflate: false,
    signal,
  });
  if (verdict.verdict !== 'accepted' || verdict.package.sha256 !== file.sha256) return false;
  await setMtimeDurable(path, file.mtimeSeconds);
  return true;
}

async function copyHashed(
  file: PublishedFile,
  handle: FileHandle,
  path: string,
  signal: AbortSignal,
): Promise<boolean> {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(copyBytes);
  await using target = await open(path, 'wx', 0o600);
  for (let at = 0; ; ) {
    signal.throwIfAborted();
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, at);
    if (bytesRead === 0) break;
    hash.update(buffer.subarray(0, bytesRead));
    await target.writeFile(buffer.subarray(0, bytesRead));
    at += bytesRead;
  }
  if (hash.digest('hex') !== file.sha256) return false;
  await finishFile(target, { mtimeSeconds: file.mtimeSeconds });
  return true;
}
