/** Starts every thread of the driver, so that the harness can take hold of it. */
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { loadKeyring } from '../../src/trust/keyring.ts';
import type { Place } from './scenes.ts';
import { repositories, writeConfig } from './session.ts';

/** Verifies an index of the first upload. */
export async function warm({ directory, uploads, verifier }: Place): Promise<void> {
  await writeConfig(directory);
  const [repository = ''] = repositories;
  await using handle = await open(join(uploads, '1', repository, 'APKINDEX.tar.gz'));
  await verifier.verifyIndex({
    sourceFd: handle.fd,
    arch: null,
    keyring: await loadKeyring([join(directory, 'keys')]),
    onEntries: () => {},
  });
}
