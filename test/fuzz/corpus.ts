/** The right files that the fuzzer spoils: made ones of every shape, and real ones where they are at hand. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type IndexEntry, packageFileName } from '../../src/apk/entry.ts';
import { createSigningKey, makeIndex, makePackage, type SigningKey, storedGzip, tarFile } from '../../src/apk/make.ts';
import { type Keyring, loadKeyring } from '../../src/trust/keyring.ts';
import type { Verifier } from '../../src/trust/verify.ts';
import { keyringOf, verifyIndexAt } from '../support/apk.ts';
import { generatedV3, realV3 } from './corpus-v3.ts';
import { type Format, formatV2 } from './format-v2.ts';

export interface Specimen {
  readonly name: string;
  readonly kind: 'package' | 'index';
  readonly bytes: Buffer;
  readonly format: Format;
  readonly keyring: Keyring;
  /** Of an index: what `A:` must be. */
  readonly arch: string | null;
  /** Of a package: what an index says of it; null for one that only its own signature vouches for. */
  readonly entry: IndexEntry | null;
  /** Of an index: what it holds. */
  readonly entries: readonly IndexEntry[];
  /** Signs a spoilt file anew with the trusted key, as a builder gone bad would; null when its private key is not at hand. */
  readonly resign: ((parts: readonly Buffer[]) => Buffer) | null;
}

/** Everything that is at hand. */
export async function corpus(verifier: Verifier): Promise<Specimen[]> {
  return [...generatedV2(), ...(await realV2(verifier)), ...generatedV3(), ...(await realV3(verifier))];
}

/** Packages and indexes made by src/apk/make.ts. */
export function generatedV2(): Specimen[] {
  const key = createSigningKey('fuzz-1.rsa.pub');
  const keyring = keyringOf(key);
  const base = { format: formatV2, keyring, entries: [], arch: 'x86_64' };
  const made = [0, 1, 700, 40_000, 300_000].map((contentBytes, seed) =>
    makePackage({ name: `fuzz-${contentBytes}`, version: `1.${seed}-r0`, arch: 'x86_64', contentBytes, seed }, key),
  );
  const unsigned = makePackage({ name: 'bare', version: '2-r0', arch: 'x86_64', contentBytes: 300, seed: 9 }, null);
  const packages = made.flatMap(({ file, bytes, entry }) => [
    { ...base, name: file, kind: 'package' as const, bytes, entry, resign: null },
    { ...base, name: `${file} alone`, kind: 'package' as const, bytes, entry: null, resign: signerOf(key) },
  ]);
  const bare = { ...base, name: unsigned.file, kind: 'package' as const, ...unsigned, resign: null };
  const many = Array.from({ length: 60 }, (_, n) => ({ ...(made[0]?.entry as IndexEntry), name: `many${n}` }));
  const indexes = [made.map((m) => m.entry), many].flatMap((entries, n) =>
    (['RSA', 'RSA256', 'RSA512'] as const).map((algorithm) => ({
      ...base,
      name: `index ${n} ${algorithm}`,
      kind: 'index' as const,
      bytes: makeIndex(entries, key, { algorithm, ...(n === 0 ? {} : { description: 'v1 fuzz' }) }),
      entry: null,
      entries,
      resign: signerOf(key),
    })),
  );
  return [...packages, bare, ...indexes];
}

/** Signs the first part after the old signatures; the parts stay as they are. */
function signerOf(key: SigningKey): (parts: readonly Buffer[]) => Buffer {
  return (parts) => {
    const content = parts.filter((part) => part.toString('latin1', 0, 6) !== '.SIGN.');
    const members = content.map((part) => formatV2.pack([part]));
    const signature = tarFile(`.SIGN.RSA256.${key.name}`, key.sign('RSA256', members[0] ?? Buffer.alloc(0)), 0);
    return Buffer.concat([storedGzip([signature]), ...members]);
  };
}

const repository = resolve(import.meta.dirname, '../../../shared/data/pmos2017');
/** Larger files only make the run slower. */
const realBytes = 32 * 1024;
/** Of each architecture; more of the same kind would crowd out the made ones. */
const realPackages = 8;

/** Indexes of a real repository and the small packages that they name; none where the data is absent. */
export async function realV2(verifier: Verifier): Promise<Specimen[]> {
  if (!existsSync(repository)) return [];
  const keyring = await loadKeyring([repository]);
  const specimens: Specimen[] = [];
  for (const arch of readdirSync(repository).filter((name) => existsSync(join(repository, name, 'APKINDEX.tar.gz')))) {
    const path = join(repository, arch, 'APKINDEX.tar.gz');
    const { verdict, entries } = await verifyIndexAt(verifier, path, { keyring, arch });
    if (verdict.verdict !== 'accepted') throw new Error(`${path}: ${verdict.code}: ${verdict.detail}`);
    const base = { format: formatV2, keyring, arch, resign: null };
    const index = { ...base, name: path, kind: 'index', bytes: readFileSync(path), entry: null, entries } as const;
    specimens.push(index);
    const enough = specimens.length + realPackages;
    for (const entry of entries) {
      if (specimens.length === enough) break;
      const file = join(repository, arch, packageFileName(entry));
      // What stands for a symlink of the repository is shorter than its entry says.
      if (entry.size > realBytes || !existsSync(file) || statSync(file).size !== entry.size) continue;
      specimens.push({ ...base, name: file, kind: 'package', bytes: readFileSync(file), entry, entries: [] });
    }
  }
  return specimens;
}
