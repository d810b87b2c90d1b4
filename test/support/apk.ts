/** What the tests of apk and trust share: temp directories, verdicts of bytes, broken packages made by hand. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { IndexEntry } from '../../src/apk/entry.ts';
import type { SigningKey } from '../../src/apk/make.ts';
import type { Keyring } from '../../src/trust/keyring.ts';
import type {
  IndexVerdict,
  PackageVerdict,
  Verifier,
  VerifyIndexOptions,
  VerifyPackageOptions,
} from '../../src/trust/verify.ts';
import { removeAtEnd } from './remove-at-end.ts';

export function temporaryDirectory(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'lockstepd-test-'));
  removeAtEnd(t, directory);
  return directory;
}

export function keyringOf(...keys: readonly SigningKey[]): Keyring {
  return { keys: keys.map((key) => ({ name: key.name, pem: key.publicPem })) };
}

type PackageSettings = Partial<Omit<VerifyPackageOptions, 'sourceFd'>> & Pick<VerifyPackageOptions, 'keyring'>;

/** Verifies the package at `path`; alone, inflated and by its own signature unless told otherwise. */
export async function verifyPackageAt(
  verifier: Verifier,
  path: string,
  settings: PackageSettings,
): Promise<PackageVerdict> {
  await using file = await open(path);
  return await verifier.verifyPackage({
    sourceFd: file.fd,
    entry: null,
    packageSignatures: 'require',
    inflate: true,
    ...settings,
  });
}

type IndexSettings = Partial<Omit<VerifyIndexOptions, 'sourceFd'>> & Pick<VerifyIndexOptions, 'keyring'>;

/** Verifies the index at `path` and collects its entries. */
export async function verifyIndexAt(
  verifier: Verifier,
  path: string,
  settings: IndexSettings,
): Promise<{ readonly verdict: IndexVerdict; readonly entries: IndexEntry[] }> {
  await using file = await open(path);
  const entries: IndexEntry[] = [];
  const onEntries = (slice: readonly IndexEntry[]): void => void entries.push(...slice);
  return {
    verdict: await verifier.verifyIndex({ sourceFd: file.fd, arch: null, onEntries, ...settings }),
    entries,
  };
}

/** `accept`, or the code of the rejection. */
export function word(verdict: PackageVerdict | IndexVerdict): string {
  return verdict.verdict === 'accepted' ? 'accept' : verdict.code;
}

/** Verifies bytes as a package, through a file in `directory`. */
export async function verifyPackageBytes(
  verifier: Verifier,
  directory: string,
  bytes: Buffer,
  settings: PackageSettings,
): Promise<PackageVerdict> {
  const path = join(directory, `bytes-${counter++}.apk`);
  writeFileSync(path, bytes);
  try {
    return await verifyPackageAt(verifier, path, settings);
  } finally {
    rmSync(path);
  }
}
let counter = 0;
