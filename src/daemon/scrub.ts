/** Reads the published tree again and compares every package with what was verified when it came in. Reports; mends nothing. */
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../errors.ts';
import type { Publisher } from '../publish/publisher.ts';
import type { Store } from '../store/store.ts';
import type { Clock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';
import type { Verifier } from '../trust/verify.ts';

export interface ScrubDeps {
  readonly store: Store;
  readonly publisher: Publisher;
  readonly verifier: Verifier;
  readonly clock: Clock;
  readonly log: Log;
}

export interface ScrubReport {
  readonly files: number;
  readonly bytes: number;
  readonly corrupt: number;
}

/** The reading must leave the disk to those whom the mirror serves. */
const bytesPerSecond = 32 * 1024 * 1024;

export async function scrubOnce(deps: ScrubDeps, signal: AbortSignal): Promise<ScrubReport | null> {
  const lease = deps.publisher.lease();
  if (!lease) return null;
  const report = { files: 0, bytes: 0, corrupt: 0 };
  try {
    const indexes = deps.store.generations.indexesAt(lease.generation);
    for (const repository of new Set(indexes.map((index) => index.repository))) {
      for (const page of deps.store.generations.packagesOf(repository, lease.generation)) {
        for (const row of page) {
          const problem = await problemOf(deps, join(lease.directory, repository, row.file), row.sha256, signal);
          report.files++;
          report.bytes += row.size;
          if (problem !== null) {
            report.corrupt++;
            deps.log.error('scrub_corrupt', { path: `${repository}/${row.file}`, detail: problem });
          }
          await deps.clock.sleep((row.size / bytesPerSecond) * 1000, { signal });
        }
      }
    }
    deps.log.info('scrub_finished', { generation: lease.generation, ...report });
    return report;
  } finally {
    lease.release();
  }
}

async function problemOf(
  deps: ScrubDeps,
  path: string,
  sha256: string | null,
  signal: AbortSignal,
): Promise<string | null> {
  try {
    await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
    const verdict = await deps.verifier.verifyPackage({
      sourceFd: file.fd,
      entry: null,
      keyring: { keys: [] },
      packageSignatures: 'ignore',
      inflate: false,
      signal,
    });
    if (verdict.verdict !== 'accepted') return `${verdict.code}: ${verdict.detail}`;
    return sha256 === null || verdict.package.sha256 === sha256
      ? null
      : `SHA-256 is ${verdict.package.sha256}, was ${sha256} when it was verified`;
  } catch (error) {
    signal.throwIfAborted();
    return messageOf(error);
  }
}
