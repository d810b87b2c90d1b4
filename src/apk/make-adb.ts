/** Builds really signed v3 packages and indexes, block by block: for the tests, the fuzzer and the demo. */
import { createHash, generateKeyPairSync, hash, sign } from 'node:crypto';
import { deflateRawSync, zstdCompressSync } from 'node:zlib';
import type { AdbSchema } from './adb-blocks.ts';
import { AdbWriter } from './adb-writer.ts';
import { type IndexEntry, packageFileName } from './entry.ts';
import type { MadeEntry } from './make.ts';

export interface AdbSigningKey {
  readonly name: string;
  readonly publicPem: string;
  /** Hex of the first 16 bytes of SHA-512 over the raw public key. */
  readonly id: string;
  sign(message: Buffer): Buffer;
}

/** A new key pair that lives in memory only. */
export function createAdbSigningKey(name: string, kind: 'ec' | 'rsa' = 'ec'): AdbSigningKey {
  const { publicKey, privateKey } =
    kind === 'ec'
      ? generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
      : generateKeyPairSync('rsa', { modulusLength: 2048 });
  const raw =
    kind === 'rsa'
      ? publicKey.export({ type: 'pkcs1', format: 'der' })
      : publicKey.export({ type: 'spki', format: 'der' }).subarray(-65);
  return {
    name,
    publicPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    id: hash('sha512', raw, 'buffer').toString('hex', 0, 16),
    sign: (message) => sign('sha512', message, privateKey),
  };
}

export type AdbCompression = 'plain' | 'deflate' | 'none' | 'container-deflate' | 'zstd';

interface AdbFileSpec {
  readonly name: string;
  readonly content: Buffer;
}

export interface AdbPackageSpec {
  readonly name: string;
  readonly version: string;
  readonly arch: string;
  /** By directory, `''` for the top one. */
  readonly files: Readonly<Record<string, readonly AdbFileSpec[]>>;
  readonly buildTime?: number;
  readonly compression?: AdbCompression;
  /** The digest that the index entry has; default SHA-256. */
  readonly hash?: 'sha256' | 'sha512' | 'sha256-160';
}

export interface MadeAdbPackage {
  readonly file: string;
  readonly bytes: Buffer;
  readonly entry: IndexEntry;
}

/** One package, signed by each of the keys. */
export function makeAdbPackage(spec: AdbPackageSpec, keys: readonly AdbSigningKey[]): MadeAdbPackage {
  const { name, version, arch, buildTime = null } = spec;
  const payload = packagePayload(spec);
  const plain = Buffer.concat([
    fileHeader('pckg'),
    block('adb', payload),
    ...keys.map((key) => signatureBlock('pckg', payload, key)),
    ...dataBlocks(spec),
  ]);
  const bytes = compress(plain, spec.compression ?? 'deflate');
  const algorithm = spec.hash ?? 'sha256';
  const digest = createHash(algorithm === 'sha512' ? 'sha512' : 'sha256')
    .update(payload)
    .digest('hex');
  const identity = `${algorithm}:${algorithm === 'sha256-160' ? digest.slice(0, 40) : digest}`;
  return {
    file: packageFileName(spec),
    bytes,
    entry: { name, version, arch, identity, size: bytes.length, buildTime },
  };
}

/** The ADB payload of a package. */
export function packagePayload(spec: AdbPackageSpec): Buffer {
  const writer = new AdbWriter();
  const acl = writer.object([writer.int(0o644), writer.text('root'), writer.text('root')]);
  const paths = Object.entries(spec.files).map(([directory, files]) =>
    writer.object([
      directory === '' ? 0 : writer.text(directory),
      acl,
      writer.object(
        files.map(({ name, content }) =>
          writer.object([
            writer.text(name),
            acl,
            writer.int(content.length),
            writer.int(spec.buildTime ?? 0),
            writer.blob(hash('sha256', content, 'buffer')),
          ]),
        ),
      ),
    ]),
  );
  const size = Object.values(spec.files)
    .flat()
    .reduce((sum, { content }) => sum + content.length, 0);
  const info = writer.object([
    writer.text(spec.name),
    writer.text(spec.version),
    0,
    writer.text(`Package ${spec.name} made by lockstepd`),
    writer.text(spec.arch),
    writer.text('MIT'),
    0,
    0,
    0,
    0,
    spec.buildTime === undefined ? 0 : writer.int(spec.buildTime),
    writer.int(size),
  ]);
  return writer.finish(writer.object([info, writer.object(paths)]));
}

/** The DATA blocks of a package, in their order. */
export function dataBlocks(spec: Pick<AdbPackageSpec, 'files'>): Buffer[] {
  return Object.values(spec.files).flatMap((files, path) =>
    files.flatMap(({ content }, file) => (content.length === 0 ? [] : [dataBlock(path + 1, file + 1, content)])),
  );
}

export interface AdbIndexSpec {
  readonly description?: string;
  readonly pkgnameSpec?: string;
  readonly compression?: AdbCompression;
}

/** A signed v3 index of the entries, in their order. */
export function makeAdbIndex(entries: Iterable<MadeEntry>, key: AdbSigningKey, spec: AdbIndexSpec = {}): Buffer {
  const payload = indexPayload(entries, spec);
  const plain = Buffer.concat([fileHeader('indx'), block('adb', payload), signatureBlock('indx', payload, key)]);
  return compress(plain, spec.compression ?? 'deflate');
}

/** The ADB payload of an index. */
export function indexPayload(entries: Iterable<MadeEntry>, spec: AdbIndexSpec = {}): Buffer {
  const writer = new AdbWriter();
  const packages = Array.from(entries, (entry) =>
    writer.object([
      writer.text(entry.name),
      writer.text(entry.version),
      writer.blob(Buffer.from(entry.identity.slice(entry.identity.indexOf(':') + 1), 'hex')),
      writer.text(`Package ${entry.name} made by lockstepd`),
      writer.text(entry.arch),
      writer.text('MIT'),
      0,
      0,
      0,
      0,
      entry.buildTime === null ? 0 : writer.int(entry.buildTime),
      writer.int(entry.size),
      writer.int(entry.size),
      0,
      writer.object((entry.depends ?? []).map((text) => dependency(writer, text))),
      writer.object((entry.provides ?? []).map((text) => dependency(writer, text))),
    ]),
  );
  const description = spec.description === undefined ? 0 : writer.text(spec.description);
  const rule = spec.pkgnameSpec === undefined ? 0 : writer.text(spec.pkgnameSpec);
  return writer.finish(writer.object([description, writer.object(packages), rule]));
}

const conflictMatch = 16;
const matchBits: Readonly<Record<string, number>> = { '=': 1, '<': 2, '>': 4, '~': 8 };

/** What a v2 index writes as `name`, `name>=version` or `!name`. */
function dependency(writer: AdbWriter, text: string): number {
  const [, conflict = '', name = '', match = '', version = ''] = /^(!?)([^<>=~]+)([<>=~]*)(.*)$/.exec(text) ?? [];
  let bits = conflict === '' ? 0 : conflictMatch;
  for (const letter of match) bits += matchBits[letter] ?? 0;
  return writer.object([
    writer.text(name),
    version === '' ? 0 : writer.text(version),
    bits === 0 ? 0 : writer.int(bits),
  ]);
}

/** Magic and schema. */
export function fileHeader(schema: string): Buffer {
  return Buffer.from(`ADB.${schema}`, 'latin1');
}

const blockTypes = { adb: 0, signature: 1, data: 2 };

/** One block with its header and padding; `extended` writes the size in 64 bits. */
export function block(
  kind: keyof typeof blockTypes,
  payload: Buffer,
  options: { readonly extended?: boolean } = {},
): Buffer {
  const extended = options.extended === true;
  const header = Buffer.alloc(extended ? 16 : 4);
  const rawSize = header.length + payload.length;
  if (extended) {
    header.writeUInt32LE((0xc0000000 | blockTypes[kind]) >>> 0, 0);
    header.writeBigUInt64LE(BigInt(rawSize), 8);
  } else {
    header.writeUInt32LE(blockTypes[kind] * 2 ** 30 + rawSize, 0);
  }
  return Buffer.concat([header, payload, Buffer.alloc((8 - (rawSize % 8)) % 8)]);
}

export function dataBlock(path: number, file: number, content: Buffer): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt32LE(path, 0);
  header.writeUInt32LE(file, 4);
  return block('data', Buffer.concat([header, content]));
}

/** A SIG block over the payload; `hashAlgorithm` 4 is the SHA-512 that apk writes, 3 SHA-256. */
export function signatureBlock(
  schema: AdbSchema,
  payload: Buffer,
  key: AdbSigningKey,
  hashAlgorithm: 3 | 4 = 4,
): Buffer {
  const header = Buffer.concat([Buffer.from([0, hashAlgorithm]), Buffer.from(key.id, 'hex')]);
  const digest = hash(hashAlgorithm === 4 ? 'sha512' : 'sha256', payload, 'buffer');
  const value = key.sign(Buffer.concat([Buffer.from(schema, 'latin1'), header, digest]));
  return block('signature', Buffer.concat([header, value]));
}

/** The file as it lies on disk. */
export function compress(plain: Buffer, compression: AdbCompression): Buffer {
  switch (compression) {
    case 'plain':
      return plain;
    case 'deflate':
      return Buffer.concat([Buffer.from('ADBd'), deflateRawSync(plain)]);
    case 'none':
      return Buffer.concat([Buffer.from('ADBc\u0000\u0000'), plain]);
    case 'container-deflate':
      return Buffer.concat([Buffer.from('ADBc\u0001\u0009'), deflateRawSync(plain)]);
    case 'zstd':
      return Buffer.concat([Buffer.from('ADBc\u0002\u0003'), zstdCompressSync(plain)]);
    default:
      return compression satisfies never;
  }
}
