/** Verifies an index of another primary that was found on a mirror, and says whether it is newer than ours. Publishes nothing. */
import { type FileHandle, mkdtemp, open, rm } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { isIndexFileName } from '../apk/entry.ts';
import { keyringOf } from '../config/key-scope.ts';
import type { Config } from '../config/schema.ts';
import { ownerOf } from '../publish/survey.ts';
import { standingOf, type Vouch } from '../replicate/fellow.ts';
import type { Store } from '../store/store.ts';
import type { Clock } from '../system/clock.ts';
import type { Keyring } from '../trust/keyring.ts';
import type { Verifier } from '../trust/verify.ts';

export interface VouchDeps {
  readonly config: () => Config;
  readonly keyring: (builder: string) => Keyring;
  readonly verifier: Verifier;
  readonly store: Store;
  readonly clock: Clock;
}

/** The keys that vouch are those of the inbox that may hold the repository. */
export function createVouch({ config, keyring, verifier, store, clock }: VouchDeps): Vouch {
  return async (path, bytes, signal) => {
    const [repository, file] = [posix.dirname(path), posix.basename(path)];
    if (!isIndexFileName(file)) return 'untrusted';
    const owner = ownerOf(config().inboxes, { repository, file });
    if (owner === null) return 'untrusted';
    // The threads that verify read from descriptors.
    // The threads that verify read from descriptors.
    await using handle = await openUnnamed(config().state);
    await handle.writeFile(bytes);
    const verdict = await verifier.verifyIndex({
      sourceFd: handle.fd,
      arch: owner.arch,
      fileName: file,
      keyring: keyringOf(keyring(owner.inbox.builder), repository, clock.now()),
      acceptEmpty: true,
      signal,
      onEntries: () => {},
    });
    if (verdict.verdict !== 'accepted') return 'untrusted';
    return standingOf(verdict.index, store.generations.ageOf(repository, file));
  };
}

/** An empty file of which nothing stays, whenever the process ends. */
async function openUnnamed(state: string): Promise<FileHandle> {
  const directory = await mkdtemp(join(state, 'vouch-'));
  try {
    return await open(join(directory, 'index'), 'wx+', 0o600);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
