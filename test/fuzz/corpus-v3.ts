/** The right v3 files that the fuzzer spoils: made ones in every compression and by both kinds of keys, and OpenWrt's where they are at hand. */
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type IndexEntry, packageFileName } from '../../src/apk/entry.ts';
import {
  type AdbCompression,
  type AdbPackageSpec,
  type AdbSigningKey,
  createAdbSigningKey,
  makeAdbIndex,
  makeAdbPackage,
  signatureBlock,
} from '../../src/apk/make-adb.ts';
import { loadKeyring } from '../../src/trust/keyring.ts';
import type { Verifier } from '../../src/trust/verify.ts';
import { verifyIndexAt } from '../support/apk.ts';
import type { Specimen } from './corpus.ts';
import type { Format } from './format-v2.ts';
import { formatV3 } from './format-v3.ts';

const compressions: readonly AdbCompression[] = ['plain', 'deflate', 'none', 'container-deflate', 'zstd'];
const identities = ['sha256', 'sha512', 'sha256-160'] as const;

/** Packages and indexes made by src/apk/make-adb.ts. */
export function generatedV3(): Specimen[] {
  const keys = [createAdbSigningKey('fuzz.pem'), createAdbSigningKey('fuzz-3.rsa.pub', 'rsa')] as const;
  const keyring = { keys: keys.map(({ name, publicPem }) => ({ name, pem: publicPem })) };
  return compressions.flatMap((compression, n) => {
    const key = n % 2 === 0 ? keys[0] : keys[1];
    const base = { keyring, arch: 'x86_64', entries: [], entry: null };
    const alone = formatV3(compression, { alone: true });
    const listed = formatV3(compression, { alone: false });
    const specs = [0, 700, 20_000].map((size, m) => spec(size, compression, identities[m] ?? 'sha256'));
    const packages = specs.flatMap((about): Specimen[] => {
      const { file, bytes, entry } = makeAdbPackage(about, [key]);
      const name = `${file} ${compression}`;
      return [
        { ...base, name, kind: 'package', bytes, entry, format: listed, resign: null },
        { ...base, name: `${name} alone`, kind: 'package', bytes, format: alone, resign: signerOf(key, alone) },
      ];
    });
    const entries = packages.flatMap(({ entry }) => (entry === null ? [] : [entry]));
    const indexes = ['', '${arch}/${name:2}/${name}-${version}.${hash:8}.apk'].map((pkgnameSpec): Specimen => {
      const about = { compression, ...(pkgnameSpec === '' ? {} : { pkgnameSpec, description: 'fuzz' }) };
      const bytes = makeAdbIndex(entries, key, about);
      const resign = signerOf(key, alone);
      const placed = pkgnameSpec === '' ? entries : entries.map((entry) => ({ ...entry, file: placeOf(entry) }));
      return {
        ...base,
        name: `index ${compression} ${pkgnameSpec}`,
        kind: 'index',
        bytes,
        entries: placed,
        format: alone,
        resign,
      };
    });
    return [...packages, ...indexes];
  });
}

function placeOf({ arch, name, version, identity }: IndexEntry): string {
  const digest = identity.slice(identity.indexOf(':') + 1);
  return `${arch}/${name.slice(0, 2)}/${name}-${version}.${digest.slice(0, 8)}.apk`;
}

function spec(size: number, compression: AdbCompression, hash: (typeof identities)[number]): AdbPackageSpec {
  const file = (name: string, bytes: number): { name: string; content: Buffer } => ({
    name,
    content: Buffer.from(Array.from({ length: bytes }, (_, at) => (at * at + bytes) & 0xff)),
  });
  return {
    name: `fuzz-${size}`,
    version: '1.0_rc1-r0',
    arch: 'x86_64',
    compression,
    hash,
    buildTime: 1_700_000_000,
    files: { '': [], 'usr/bin': [file('a', size), file('empty', 0)], 'usr/share/doc': [file('b', 30), file('c', 1)] },
  };
}

/** Signs the ADB block as it now is; the old signatures go. */
function signerOf(key: AdbSigningKey, format: Format): (parts: readonly Buffer[]) => Buffer {
  return ([head = Buffer.alloc(0), adb = Buffer.alloc(4), ...rest]) => {
    const schema = head.toString('latin1', 4, 8) === 'indx' ? 'indx' : 'pckg';
    const signature = signatureBlock(schema, adb.subarray(4), key);
    const size = signature.readUInt32LE(0) & 0x3fffffff;
    const others = rest.filter((part) => part.length < 4 || part.readUInt8(3) >>> 6 !== 1);
    return format.pack([head, adb, signature.subarray(0, size), ...others]);
  };
}

const feeds = resolve(import.meta.dirname, '../../../shared/data/samples/openwrt-v3');
/** Larger files only make the run slower. */
const realBytes = 32 * 1024;

/** OpenWrt's feeds and their small packages; none where the data is absent. */
export async function realV3(verifier: Verifier): Promise<Specimen[]> {
  const specimens: Specimen[] = [];
  for (const feed of existsSync(feeds) ? ['melmac', 'mossdef'] : []) {
    const directory = join(feeds, feed);
    const keyring = await loadKeyring([directory]);
    const path = join(directory, 'packages.adb');
    const { verdict, entries } = await verifyIndexAt(verifier, path, { keyring });
    if (verdict.verdict !== 'accepted') throw new Error(`${path}: ${verdict.code}: ${verdict.detail}`);
    const base = { keyring, arch: null, resign: null };
    const bytes = readFileSync(path);
    specimens.push({
      ...base,
      name: path,
      kind: 'index',
      bytes,
      entries,
      entry: null,
      format: formatV3('deflate', { alone: true }),
    });
    for (const entry of entries) {
      const file = join(directory, packageFileName(entry));
      if (entry.size > realBytes || !existsSync(file)) continue;
      const format = formatV3('deflate', { alone: false });
      specimens.push({ ...base, name: file, kind: 'package', bytes: readFileSync(file), entry, entries: [], format });
    }
  }
  return specimens;
}
