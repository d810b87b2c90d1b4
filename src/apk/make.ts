/** Builds really signed v2 packages and indexes, the same bytes for the same arguments: for the demo, the tests and the bench. */
import { generateKeyPairSync, hash, sign as signBytes } from 'node:crypto';
import { crc32, gzipSync } from 'node:zlib';
import type { IndexEntry } from './entry.ts';
import { packageFileName } from './entry.ts';

type SigningAlgorithm = 'RSA' | 'RSA256' | 'RSA512';

export interface SigningKey {
  /** The name under which clients must know the public key, such as `demo-1.rsa.pub`. */
  readonly name: string;
  readonly publicPem: string;
  sign(algorithm: SigningAlgorithm, data: Buffer): Buffer;
}

/** A new RSA key pair (2048 bits unless told otherwise) that lives in memory only. */
export function createSigningKey(name: string, options: { readonly bits?: number } = {}): SigningKey {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: options.bits ?? 2048 });
  const digests = { RSA: 'sha1', RSA256: 'sha256', RSA512: 'sha512' };
  return {
    name,
    publicPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    sign: (algorithm, data) => signBytes(digests[algorithm], data, privateKey),
  };
}

export interface PackageSpec {
  readonly name: string;
  readonly version: string;
  /** What the index says: the architecture of the directory. */
  readonly arch: string;
  /** What the package says of itself, `noarch` for instance; default as `arch`. */
  readonly packageArch?: string;
  /** Size of the one file in it; its content follows from the seed and does not compress. */
  readonly contentBytes: number;
  readonly seed: number;
  /** Unix seconds. */
  readonly buildTime?: number;
  /** As an index has them: `so:libfoo.so.1`, `foo>=1.2`, `!foo`. */
  readonly depends?: readonly string[];
  readonly provides?: readonly string[];
}

/** An entry with what it needs and provides, for makers of indexes. */
export interface MadeEntry extends IndexEntry, Pick<PackageSpec, 'depends' | 'provides'> {}

export interface MadePackage {
  /** `<name>-<version>.apk` */
  readonly file: string;
  readonly bytes: Buffer;
  readonly entry: MadeEntry;
}

const defaultTime = 1_700_000_000;

/** One package, signed with RSA over SHA-1 as Alpine does, or unsigned without a key. */
export function makePackage(spec: PackageSpec, key: SigningKey | null): MadePackage {
  const { name, version, arch, packageArch = arch, contentBytes, buildTime = defaultTime } = spec;
  const { depends = [], provides = [] } = spec;
  const content = pseudoRandom(contentBytes, spec.seed);
  const data = storedGzip([tarFile(`usr/share/${name.slice(0, 80)}`, content, buildTime), endOfArchive]);
  const info = [
    `pkgname = ${name}`,
    `pkgver = ${version}`,
    `pkgdesc = ${describe(name)}`,
    'url = https://example.org/',
    `builddate = ${buildTime}`,
    'packager = lockstepd',
    `size = ${contentBytes}`,
    `arch = ${packageArch}`,
    `origin = ${name}`,
    'license = MIT',
    ...depends.map((dependency) => `depend = ${dependency}`),
    ...provides.map((provided) => `provides = ${provided}`),
    `datahash = ${hash('sha256', data, 'hex')}`,
    '',
  ].join('\n');
  const control = storedGzip([tarFile('.PKGINFO', Buffer.from(info), buildTime)]);
  const bytes = Buffer.concat([...(key === null ? [] : [signatureMember(key, 'RSA', control)]), control, data]);
  const identity = hash('sha1', control, 'hex');
  return {
    file: packageFileName(spec),
    bytes,
    entry: {
      name,
      version,
      arch,
      identity,
      size: bytes.length,
      buildTime,
      ...(depends.length > 0 && { depends }),
      ...(provides.length > 0 && { provides }),
    },
  };
}

/** A signed `APKINDEX.tar.gz` of the entries, in their order. */
export function makeIndex(
  entries: Iterable<MadeEntry>,
  key: SigningKey,
  options: { readonly description?: string; readonly algorithm?: SigningAlgorithm } = {},
): Buffer {
  const text = Buffer.concat(Array.from(entries, (entry) => Buffer.from(stanza(entry))));
  const { description, algorithm = 'RSA' } = options;
  const parts = [tarFile('APKINDEX', text, defaultTime), endOfArchive];
  if (description !== undefined) parts.unshift(tarFile('DESCRIPTION', Buffer.from(description), defaultTime));
  const member = gzipSync(Buffer.concat(parts), { level: 1 });
  return Buffer.concat([signatureMember(key, algorithm, member), member]);
}

function stanza(entry: MadeEntry): string {
  const lines = [
    `C:Q1${Buffer.from(entry.identity, 'hex').toString('base64')}`,
    `P:${entry.name}`,
    `V:${entry.version}`,
    `A:${entry.arch}`,
    `S:${entry.size}`,
    `I:${entry.size}`,
    `T:${describe(entry.name)}`,
    'U:https://example.org/',
    'L:MIT',
    `o:${entry.name}`,
    ...(entry.buildTime === null ? [] : [`t:${entry.buildTime}`]),
    ...(entry.depends === undefined ? [] : [`D:${entry.depends.join(' ')}`]),
    ...(entry.provides === undefined ? [] : [`p:${entry.provides.join(' ')}`]),
  ];
  return `${lines.join('\n')}\n\n`;
}

function describe(name: string): string {
  return `Package ${name} made by lockstepd`;
}

function signatureMember(key: SigningKey, algorithm: SigningAlgorithm, signed: Buffer): Buffer {
  return storedGzip([tarFile(`.SIGN.${algorithm}.${key.name}`, key.sign(algorithm, signed), defaultTime)]);
}

const recordBytes = 512;
const endOfArchive = Buffer.alloc(2 * recordBytes);

/** One regular file as a ustar entry, padded to whole records. */
export function tarFile(name: string, content: Buffer, mtime: number): Buffer {
  if (Buffer.byteLength(name) > 100) throw new Error(`${name}: expected a name of at most 100 bytes for a tar header`);
  const header = Buffer.alloc(recordBytes);
  header.write(name, 0);
  header.write('0000644\u00000000000\u00000000000\u0000', 100);
  header.write(`${octal(content.length)} ${octal(mtime)}         0`, 124);
  header.write('ustar\u000000', 257);
  let sum = 0;
  for (const byte of header) sum += byte;
  header.write(`${sum.toString(8).padStart(6, '0')}\u0000 `, 148);
  const padding = (recordBytes - (content.length % recordBytes)) % recordBytes;
  return Buffer.concat([header, content, Buffer.alloc(padding)]);
}

function octal(value: number): string {
  return value.toString(8).padStart(11, '0');
}

/** A gzip member of stored blocks: no compression, so as fast as copying. */
export function storedGzip(parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const blockBytes = 0xffff;
  const pieces: Buffer[] = [Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3])];
  for (let at = 0; at === 0 || at < content.length; at += blockBytes) {
    const block = content.subarray(at, at + blockBytes);
    const header = Buffer.alloc(5);
    header[0] = at + blockBytes >= content.length ? 1 : 0;
    header.writeUInt16LE(block.length, 1);
    header.writeUInt16LE(0xffff - block.length, 3);
    pieces.push(header, block);
  }
  const trailer = Buffer.alloc(8);
  trailer.writeUInt32LE(crc32(content), 0);
  trailer.writeUInt32LE(content.length, 4);
  return Buffer.concat([...pieces, trailer]);
}

/** Bytes that follow from the seed alone (xorshift32) and do not compress. */
function pseudoRandom(length: number, seed: number): Buffer {
  const words = new Uint32Array(Math.ceil(length / 4));
  let state = (Math.imul(seed, 0x9e3779b1) ^ 0x6d2b79f5) >>> 0 || 1;
  for (let i = 0; i < words.length; i += 1) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[i] = state;
  }
  return Buffer.from(words.buffer, 0, length);
}
