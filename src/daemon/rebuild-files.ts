/** The package files of one directory of a tree, and the reading of them anew after their records were rebuilt. */
import { constants, type Stats } from 'node:fs';
import { lstat, open, opendir } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, messageOf } from '../errors.ts';
import type { Publisher } from '../publish/publisher.ts';
import type { UnhashedPackage } from '../store/takeover.ts';
import type { Store } from '../store/store.ts';
import type { Clock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';
import type { Verifier } from '../trust/verify.ts';

export interface PackageFile {
  readonly file: string;
  readonly size: number;
  readonly mtimeSeconds: number;
}

const pageSize = 500;

/** The regular files `*.apk` directly in `directory`, in pages. */
export async function* packagesIn(directory: string): AsyncGenerator<readonly PackageFile[]> {
  let page: PackageFile[] = [];
  for await (const entry of await opendir(directory)) {
    if (!entry.isFile() || !entry.name.endsWith('.apk') || entry.name.startsWith('.')) continue;
    const facts = await lstatIfThere(join(directory, entry.name));
    if (facts === null) continue;
    page.push({ file: entry.name, size: facts.size, mtimeSeconds: Math.floor(facts.mtimeMs / 1000) });
    if (page.length < pageSize) continue;
    yield page;
    page = [];
  }
  yield page;
}

export async function lstatIfThere(path: string): Promise<Stats | null> {
  try {
    return await lstat(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return null;
    throw error;
  }
}

export interface RehashDeps {
  readonly store: Store;
  readonly publisher: Publisher;
  readonly verifier: Verifier;
  readonly clock: Clock;
  readonly log: Log;
}

/** The reading must leave the disk to those whom the mirror serves. */
const bytesPerSecond = 32 * 1024 * 1024;

/** Reads every served package whose record was rebuilt, and notes its SHA-256 when it is what its index names. Reports the others; mends nothing. */
export async function hashRebuilt(deps: RehashDeps, signal: AbortSignal): Promise<void> {
  const { store, publisher, clock, log } = deps;
  const report = { files: 0, corrupt: 0 };
  let after = 0;
  for (;;) {
    const page = store.takeover.unhashed(after);
    for (const row of page) {
      signal.throwIfAborted();
      const lease = publisher.lease();
      if (!lease) return;
      try {
        const problem = await hashOne(deps, row, join(lease.directory, row.repository, row.file), signal);
        report.files++;
        if (problem !== null) {
          report.corrupt++;
          log.error('rebuilt_package_corrupt', { path: `${row.repository}/${row.file}`, detail: problem });
        }
      } finally {
        lease.release();
      }
      await clock.sleep((row.size / bytesPerSecond) * 1000, { signal });
    }
    const last = page.at(-1);
    if (!last) break;
    after = last.id;
  }
  if (report.files > 0) log.info('rebuilt_packages_hashed', report);
}

/** What is wrong with the file; null when its SHA-256 was noted. */
async function hashOne(
  { store, verifier }: RehashDeps,
  row: UnhashedPackage,
  path: string,
  signal: AbortSignal,
): Promise<string | null> {
  try {
    await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
    const verdict = await verifier.verifyPackage({
      sourceFd: file.fd,
      // A file beside an index that nobody trusts has no identity to compare with.
      entry: row.identity === '' ? null : { ...row, buildTime: null },
      keyring: { keys: [] },
      packageSignatures: 'ignore',
      ignoreLinks: true,
      inflate: false,
      signal,
    });
    if (verdict.verdict !== 'accepted') return `${verdict.code}: ${verdict.detail}`;
    store.takeover.setHash(row.id, verdict.package);
    return null;
  } catch (error) {
    signal.throwIfAborted();
    return messageOf(error);
  }
}
