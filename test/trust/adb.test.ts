import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { deflateRawSync, zstdCompressSync } from 'node:zlib';
import { AdbWriter } from '../../src/apk/adb-writer.ts';
import type { IndexEntry, IndexFileName } from '../../src/apk/entry.ts';
import { createSigningKey, makePackage } from '../../src/apk/make.ts';
import {
  type AdbPackageSpec,
  type AdbSigningKey,
  block,
  compress,
  createAdbSigningKey,
  dataBlock,
  dataBlocks,
  fileHeader,
  indexPayload,
  makeAdbIndex,
  makeAdbPackage,
  packagePayload,
  signatureBlock,
} from '../../src/apk/make-adb.ts';
import type { Keyring } from '../../src/trust/keyring.ts';
import { Verifier, type VerifyPackageOptions } from '../../src/trust/verify.ts';
import { temporaryDirectory, verifyIndexAt, verifyPackageBytes, word } from '../support/apk.ts';

const key = createAdbSigningKey('builder.pem');
const rsa = createAdbSigningKey('builder.rsa.pub', 'rsa');
const stranger = createAdbSigningKey('stranger.pem');
const keyring: Keyring = { keys: [key, rsa].map(({ name, publicPem }) => ({ name, pem: publicPem })) };

const spec: AdbPackageSpec = {
  name: 'foo',
  version: '1.0-r0',
  arch: 'x86_64',
  compression: 'plain',
  files: {
    '': [],
    'usr/bin': [
      { name: 'foo', content: Buffer.from('#!/bin/sh\n') },
      { name: 'empty', content: Buffer.alloc(0) },
    ],
    'usr/share': [{ name: 'data', content: Buffer.alloc(5000, 'lockstep') }],
  },
};
const payload = packagePayload(spec);
const signature = signatureBlock('pckg', payload, key);
const data = dataBlocks(spec);
const adb = block('adb', payload);

/** A plain v3 package of these blocks. */
function file(...blocks: readonly Buffer[]): Buffer {
  return Buffer.concat([fileHeader('pckg'), ...blocks]);
}

/** A signed package whose ADB payload a test has made; without DATA unless given. */
function signed(content: Buffer, ...rest: readonly Buffer[]): Buffer {
  return file(block('adb', content), signatureBlock('pckg', content, key), ...rest);
}

/** A payload around values that a test makes. */
function made(build: (writer: AdbWriter) => number, compatibility = 0): Buffer {
  const writer = new AdbWriter();
  return writer.finish(build(writer), compatibility);
}

/** A package of one file whose slots a test chooses: name, acl, size, mtime, hash, target. */
function oneFile(slots: (writer: AdbWriter) => readonly number[], directory = 'usr'): Buffer {
  return made((w) => {
    const about = w.object([w.text('foo'), w.text('1.0-r0'), 0, 0, w.text('x86_64')]);
    const files = w.object([w.object(slots(w))]);
    return w.object([about, w.object([w.object([directory === '' ? 0 : w.text(directory), 0, files])])]);
  });
}

function info(name: string | null, version: string | null, arch: string | null = 'x86_64'): Buffer {
  const text = (w: AdbWriter, value: string | null): number => (value === null ? 0 : w.text(value));
  return made((w) => w.object([w.object([text(w, name), text(w, version), 0, 0, text(w, arch)])]));
}

function patched(bytes: Buffer, patch: (copy: Buffer) => void): Buffer {
  const copy = Buffer.from(bytes);
  patch(copy);
  return copy;
}

const hello = Buffer.from('hello\n');
const sha = (bytes: Buffer): Buffer => hash('sha256', bytes, 'buffer');
const device = (mode: number, rest: Buffer | string): Buffer => {
  const bytes = Buffer.from([mode & 0xff, mode >> 8]);
  return Buffer.concat([bytes, Buffer.from(rest)]);
};
const withTarget = (target: Buffer): Buffer => signed(oneFile((w) => [w.text('link'), 0, 0, 0, 0, w.blob(target)]));
const withName = (name: string, directory = 'usr'): Buffer =>
  signed(oneFile((w) => [w.text(name), 0, 0, 0, w.blob(sha(hello))], directory));

function extendedHeader(type: number, size: bigint): Buffer {
  const header = Buffer.alloc(16);
  header.writeUInt32LE((0xc0000000 | type) >>> 0, 0);
  header.writeBigUInt64LE(size, 8);
  return header;
}

/** A payload of 24 bytes whose root is this word and whose words after the header are these. */
function words(root: number, ...rest: readonly number[]): Buffer {
  const bytes = Buffer.alloc(24);
  for (const [n, value] of [0, root, ...rest].entries()) bytes.writeUInt32LE(value >>> 0, 4 * n);
  return bytes;
}
const object = (at: number): number => (0xe0000000 | at) >>> 0;

/** Paths and files that all share one array: a few hundred kilobytes that name 10^9 files. */
function sharedFiles(): Buffer {
  return made((w) => {
    const about = w.object([w.text('foo'), w.text('1.0-r0')]);
    const one = w.object([w.text('a'), 0, 0, 0, w.blob(sha(hello))]);
    const files = w.object(Array.from({ length: 30_000 }, () => one));
    const path = w.object([w.text('usr'), 0, files]);
    return w.object([about, w.object(Array.from({ length: 30_000 }, () => path))]);
  });
}

const cases: Readonly<Record<string, readonly [bytes: Buffer, expected: string]>> = {
  'signed by a trusted EC key': [file(adb, signature, ...data), 'accept'],
  'signed by a trusted RSA key': [file(adb, signatureBlock('pckg', payload, rsa), ...data), 'accept'],
  'signed over SHA-256 of the payload': [file(adb, signatureBlock('pckg', payload, key, 3), ...data), 'accept'],
  'an unknown signature, then a trusted one': [
    file(adb, signatureBlock('pckg', payload, stranger), signature, ...data),
    'accept',
  ],
  'a wrong signature by a trusted key, then a right one': [
    file(
      adb,
      patched(signature, (b) => b.writeUInt8(b.readUInt8(40) ^ 1, 40)),
      signature,
      ...data,
    ),
    'accept',
  ],
  'signature of another version, then a right one': [
    file(
      adb,
      patched(signature, (b) => b.writeUInt8(1, 4)),
      signature,
      ...data,
    ),
    'accept',
  ],
  'EXT blocks throughout': [
    file(
      block('adb', payload, { extended: true }),
      block('signature', signature.subarray(4, signature.readUInt32LE(0) & 0x3fffffff), { extended: true }),
      ...data,
    ),
    'accept',
  ],
  'a package without files': [signed(info('foo', '1.0-r0')), 'accept'],
  'a symlink': [withTarget(device(0o120000, '../lib/x')), 'accept'],
  'a hard link': [withTarget(device(0o100000, 'usr/bin/x')), 'accept'],
  'a FIFO': [withTarget(device(0o010000, Buffer.alloc(8))), 'accept'],

  'no signature': [file(adb, ...data), 'SIG_UNTRUSTED'],
  'signed by a stranger': [file(adb, signatureBlock('pckg', payload, stranger), ...data), 'SIG_UNTRUSTED'],
  'signature over another schema': [file(adb, signatureBlock('indx', payload, key), ...data), 'SIG_UNTRUSTED'],
  'signature of another payload': [
    file(block('adb', packagePayload({ ...spec, name: 'bar' })), signature, ...data),
    'SIG_UNTRUSTED',
  ],
  'SHA-1 as hash of the payload': [
    file(
      adb,
      patched(signature, (b) => b.writeUInt8(2, 5)),
      ...data,
    ),
    'SIG_UNTRUSTED',
  ],
  'a signature of 18 bytes': [file(adb, block('signature', signature.subarray(4, 22)), ...data), 'SIG_UNTRUSTED'],
  'an empty SIG block': [file(adb, block('signature', Buffer.alloc(0)), ...data), 'SIG_UNTRUSTED'],
  'a SIG block of 5000 bytes': [file(adb, block('signature', Buffer.alloc(5000)), signature, ...data), 'LIMIT'],
  '17 signatures': [file(adb, ...Array.from({ length: 17 }, () => signature), ...data), 'LIMIT'],

  'no ADB block': [file(), 'ADB_BLOCK'],
  'two ADB blocks': [file(adb, adb, signature, ...data), 'ADB_BLOCK'],
  'a second ADB block at the end': [file(adb, signature, ...data, adb), 'ADB_BLOCK'],
  'DATA first': [file(...data, adb, signature), 'ADB_BLOCK'],
  'SIG between DATA': [file(adb, data[0] ?? adb, signature, data[1] ?? adb), 'ADB_BLOCK'],
  'an unknown extended type': [file(extendedHeader(7, 32n), adb), 'ADB_BLOCK'],
  'EXT within EXT': [file(extendedHeader(3, 32n), adb), 'ADB_BLOCK'],
  'EXT smaller than its header': [file(extendedHeader(0, 8n), adb), 'ADB_BLOCK'],
  'an ADB block of 2^64-1 bytes': [file(extendedHeader(0, 2n ** 64n - 1n), adb), 'LIMIT'],
  'an ADB block of 2^53+1 bytes': [file(extendedHeader(0, 2n ** 53n + 1n), adb), 'LIMIT'],
  'a SIG block of 2^64-8 bytes': [file(adb, extendedHeader(1, 2n ** 64n - 8n)), 'LIMIT'],
  'a DATA block of 2^64-8 bytes': [
    file(adb, signature, extendedHeader(2, 2n ** 64n - 8n), Buffer.alloc(64)),
    'ADB_BLOCK',
  ],
  'an ADB block of 1 GiB claimed': [
    file(
      patched(adb, (b) => b.writeUInt32LE(0x3fffffff, 0)),
      signature,
    ),
    'LIMIT',
  ],
  'a DATA block without its two indexes': [file(adb, signature, block('data', Buffer.alloc(7))), 'ADB_BLOCK'],
  'a DATA block too many': [file(adb, signature, ...data, dataBlock(3, 2, hello)), 'ADB_BLOCK'],
  'a DATA block for the empty file': [
    file(adb, signature, data[0] ?? adb, dataBlock(2, 2, Buffer.alloc(0)), data[1] ?? adb),
    'ADB_BLOCK',
  ],
  'a DATA block twice': [file(adb, signature, data[0] ?? adb, ...data), 'ADB_BLOCK'],
  'the first DATA block missing': [file(adb, signature, ...data.slice(1)), 'ADB_BLOCK'],
  'all DATA blocks missing': [file(adb, signature), 'ADB_BLOCK'],
  'a DATA block one byte short': [file(adb, signature, dataBlock(2, 1, Buffer.from('#!/bin/sh'))), 'ADB_BLOCK'],
  'a DATA block for a symlink': [
    signed(
      oneFile((w) => [w.text('a'), 0, w.int(6), 0, 0, w.blob(device(0o120000, 'b'))]),
      dataBlock(1, 1, hello),
    ),
    'ADB_BLOCK',
  ],
  'other content of the same length': [
    file(adb, signature, dataBlock(2, 1, Buffer.from('#!/bin/zz\n')), ...data.slice(1)),
    'ADB_DATA_HASH',
  ],
  'padding of the ADB block not zero': [
    file(
      patched(adb, (b) => b.writeUInt8(1, b.length - 1)),
      signature,
      ...data,
    ),
    (4 + payload.length) % 8 === 0 ? 'SIG_UNTRUSTED' : 'ADB_PADDING',
  ],
  'padding of the last block not zero': [
    patched(file(adb, signature, ...data), (b) => b.writeUInt8(1, b.length - 1)),
    'ADB_PADDING',
  ],
  'one byte after the last block': [file(adb, signature, ...data, Buffer.alloc(1)), 'FORMAT_TRAILING'],
  '64 zero bytes after the last block': [file(adb, signature, ...data, Buffer.alloc(64)), 'FORMAT_TRAILING'],
  'text after the last block': [file(adb, signature, ...data, Buffer.from('<html></html>\n')), 'FORMAT_TRAILING'],

  'another schema': [Buffer.concat([Buffer.from('ADB.idb\0'), adb, signature]), 'ADB_SCHEMA'],
  'an index as a package': [makeAdbIndex([], key), 'ADB_SCHEMA'],
  'compatibility version 1': [signed(made((w) => w.object([w.object([w.text('foo')])]), 1)), 'ADB_SCHEMA'],
  'no root': [signed(words(0)), 'IDENTITY_NAME'],
  'a root that is a number': [signed(words(0x10000001)), 'ADB_SCHEMA'],
  'a root of a type that does not exist': [signed(words(0xf0000008)), 'ADB_SCHEMA'],
  'a root beyond the payload': [signed(words(object(0x0ffffffc))), 'ADB_SCHEMA'],
  'a root at the last byte': [signed(words(object(23))), 'ADB_SCHEMA'],
  'a root that is not aligned': [signed(words(object(9), 0x0200, 0)), 'ADB_SCHEMA'],
  'a count of 2^32-1': [signed(words(object(8), 0xffffffff)), 'ADB_SCHEMA'],
  'a count of zero': [signed(words(object(8), 0)), 'ADB_SCHEMA'],
  'an object that is its own info': [signed(words(object(8), 3, object(8), object(8))), 'ADB_SCHEMA'],
  'paths that are their own files': [
    signed(
      made((w) => {
        const about = w.object([w.text('foo'), w.text('1.0-r0')]);
        return w.object([about, about]);
      }),
    ),
    'ADB_SCHEMA',
  ],
  'a name that leads out of the payload': [
    signed(patched(info('foo', '1.0-r0'), (b) => b.writeUInt8(250, b.indexOf('foo') - 1))),
    'ADB_SCHEMA',
  ],
  'a blob of 2^32-1 bytes': [signed(words(object(8), 2, object(16), 2, 0xa0000014 | 0)), 'ADB_SCHEMA'],
  'a number as name': [signed(made((w) => w.object([w.object([w.int(7), w.text('1.0-r0')])]))), 'ADB_SCHEMA'],
  'a size that is a text': [signed(oneFile((w) => [w.text('a'), 0, w.text('6'), 0, w.blob(sha(hello))])), 'ADB_SCHEMA'],
  'a size over 2^53': [
    signed(
      patched(
        oneFile((w) => [w.text('a'), 0, w.int(2 ** 40), 0, w.blob(sha(hello))]),
        (b) => b.writeBigUInt64LE(2n ** 63n, b.indexOf(Buffer.from([0, 0, 0, 0, 0, 1, 0, 0]), 8)),
      ),
    ),
    'ADB_SCHEMA',
  ],
  'a million files out of one shared array': [signed(sharedFiles()), 'LIMIT'],
  'a file without a hash': [
    signed(
      oneFile((w) => [w.text('a'), 0, w.int(6)]),
      dataBlock(1, 1, hello),
    ),
    'ADB_SCHEMA',
  ],
  'a hash of 16 bytes': [
    signed(
      oneFile((w) => [w.text('a'), 0, w.int(6), 0, w.blob(Buffer.alloc(16))]),
      dataBlock(1, 1, hello),
    ),
    'ADB_SCHEMA',
  ],
  'a hash of 20 bytes': [
    signed(
      oneFile((w) => [w.text('a'), 0, w.int(6), 0, w.blob(hash('sha1', hello, 'buffer'))]),
      dataBlock(1, 1, hello),
    ),
    'accept',
  ],
  'a hash of 64 bytes': [
    signed(
      oneFile((w) => [w.text('a'), 0, w.int(6), 0, w.blob(hash('sha512', hello, 'buffer'))]),
      dataBlock(1, 1, hello),
    ),
    'accept',
  ],
  'a target of one byte': [withTarget(Buffer.alloc(1)), 'ADB_SCHEMA'],
  'a target that is a directory': [withTarget(device(0o040000, 'x')), 'ADB_SCHEMA'],
  'a device number of four bytes': [withTarget(device(0o060000, Buffer.alloc(4))), 'ADB_SCHEMA'],
  'a symlink to nothing': [withTarget(device(0o120000, '')), 'ADB_SCHEMA'],
  'a hard link out of the root': [withTarget(device(0o100000, '../etc/passwd')), 'DATA_PATH'],

  'an absolute directory': [withName('a', '/etc'), 'DATA_PATH'],
  'a directory with ..': [withName('a', 'usr/../../etc'), 'DATA_PATH'],
  'a file named ..': [withName('..'), 'DATA_PATH'],
  'a file name with a slash': [withName('../a'), 'DATA_PATH'],
  'a file without a name': [signed(oneFile((w) => [0, 0, 0, 0, w.blob(sha(hello))])), 'DATA_PATH'],
  'a file name with a newline': [withName('a\nb'), 'DATA_PATH'],
  'a file name with NUL': [withName('a\0b'), 'DATA_PATH'],
  'a name that is a path': [signed(info('../evil', '1.0-r0')), 'IDENTITY_NAME'],
  'no name': [signed(info(null, '1.0-r0')), 'IDENTITY_NAME'],
  'no version': [signed(info('foo', null)), 'IDENTITY_NAME'],
  'a version that is a path': [signed(info('foo', '1/../..')), 'IDENTITY_NAME'],
  'an architecture that is a path': [signed(info('foo', '1.0-r0', '../x')), 'IDENTITY_NAME'],

  'four bytes': [Buffer.from('ADB.'), 'TRUNCATED'],
  'ADBc of five bytes': [Buffer.from('ADBc\x02'), 'TRUNCATED'],
  'an unknown container': [Buffer.concat([Buffer.from('ADBz'), adb]), 'ADB_COMPRESSION'],
  'an unknown algorithm': [Buffer.concat([Buffer.from('ADBc\x03\x00'), adb]), 'ADB_COMPRESSION'],
  'damaged deflate': [Buffer.concat([Buffer.from('ADBd'), Buffer.alloc(100, 0xff)]), 'ADB_COMPRESSION'],
  'no zstd': [Buffer.concat([Buffer.from('ADBc\x02\x00'), Buffer.alloc(100, 0xff)]), 'ADB_COMPRESSION'],
  'compressed twice': [compress(compress(file(adb, signature, ...data), 'deflate'), 'deflate'), 'ADB_BLOCK'],
  'an empty deflate stream': [compress(Buffer.alloc(0), 'deflate'), 'TRUNCATED'],
  'a deflate bomb': [
    Buffer.concat([Buffer.from('ADBd'), deflateRawSync(Buffer.concat([file(adb, signature), Buffer.alloc(2 ** 27)]))]),
    'LIMIT',
  ],
  'a zstd bomb': [compress(Buffer.concat([file(adb, signature), Buffer.alloc(2 ** 27)]), 'zstd'), 'LIMIT'],
  'a zstd window of 2 GiB': [
    Buffer.concat([Buffer.from('ADBc\x02\x00'), Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, 0xa8, 1, 0, 0])]),
    'LIMIT',
  ],
};

test('v3 packages that stand alone', async (t) => {
  const directory = temporaryDirectory(t);
  await using verifier = new Verifier({ workers: 1 });
  for (const [name, [bytes, expected]] of Object.entries(cases)) {
    await t.test(`${name}: ${expected}`, async () => {
      const verdict = await verifyPackageBytes(verifier, directory, bytes, { keyring });
      assert.equal(word(verdict), expected, JSON.stringify(verdict));
      const fine = await verifyPackageBytes(verifier, directory, file(adb, signature, ...data), { keyring });
      assert.equal(word(fine), 'accept', 'the verifier goes on');
    });
  }
});

test('every compression of the same package, whole, with something after it, and cut anywhere', async (t) => {
  const directory = temporaryDirectory(t);
  await using verifier = new Verifier({ workers: 1 });
  const plain = file(adb, signature, ...data);
  const verdictOf = async (bytes: Buffer): Promise<string> =>
    word(await verifyPackageBytes(verifier, directory, bytes, { keyring }));
  for (const compression of ['plain', 'deflate', 'none', 'container-deflate', 'zstd'] as const) {
    const whole = compress(plain, compression);
    assert.equal(await verdictOf(whole), 'accept', compression);
    assert.equal(await verdictOf(Buffer.concat([whole, Buffer.from('x')])), 'FORMAT_TRAILING', compression);
    const cuts = [0, 2, 3, 4, 5, 6, 7, 12, 20, whole.length >> 1, whole.length - 9, whole.length - 1];
    for (const cut of cuts) {
      const found = await verdictOf(whole.subarray(0, cut));
      assert.ok(['TRUNCATED', 'ADB_BLOCK'].includes(found), `${compression} cut at ${cut}: ${found}`);
    }
  }
  const frame = zstdCompressSync(plain);
  const twice = Buffer.concat([Buffer.from('ADBc\x02\x03'), frame, zstdCompressSync(Buffer.alloc(0))]);
  assert.equal(await verdictOf(twice), 'FORMAT_TRAILING', 'a second zstd frame');
});

test('a plain package cut at every byte is never accepted', async (t) => {
  const directory = temporaryDirectory(t);
  await using verifier = new Verifier({ workers: 2 });
  const small: AdbPackageSpec = { ...spec, files: { usr: [{ name: 'a', content: hello }] } };
  const { bytes } = makeAdbPackage(small, [key]);
  for (let length = 0; length < bytes.length; length++) {
    const found = word(await verifyPackageBytes(verifier, directory, bytes.subarray(0, length), { keyring }));
    assert.ok(['TRUNCATED', 'ADB_BLOCK', 'SIG_UNTRUSTED', 'FORMAT_TRAILING'].includes(found), `${length}: ${found}`);
  }
});

test('a package behind its index entry', async (t) => {
  const directory = temporaryDirectory(t);
  await using verifier = new Verifier({ workers: 1 });
  const verdict = async (bytes: Buffer, entry: IndexEntry, more: Partial<VerifyPackageOptions> = {}): Promise<string> =>
    word(
      await verifyPackageBytes(verifier, directory, bytes, {
        keyring,
        entry,
        packageSignatures: 'if-present',
        ...more,
      }),
    );
  for (const algorithm of ['sha256', 'sha512', 'sha256-160'] as const) {
    const { bytes, entry } = makeAdbPackage({ ...spec, hash: algorithm }, []);
    assert.equal(await verdict(bytes, entry), 'accept', `${algorithm}, unsigned`);
    assert.equal(await verdict(bytes, entry, { packageSignatures: 'require' }), 'SIG_UNTRUSTED', algorithm);
    const wrong = `${entry.identity.slice(0, -1)}${entry.identity.endsWith('0') ? '1' : '0'}`;
    assert.equal(await verdict(bytes, { ...entry, identity: wrong }), 'CONTROL_MISMATCH', algorithm);
  }
  const { bytes, entry } = makeAdbPackage(spec, [key]);
  assert.equal(await verdict(bytes, entry, { packageSignatures: 'require' }), 'accept');
  assert.equal(await verdict(bytes, { ...entry, size: entry.size + 1 }), 'SIZE_MISMATCH');
  assert.equal(await verdict(bytes, { ...entry, name: 'bar' }), 'IDENTITY_MISMATCH');
  assert.equal(await verdict(bytes, { ...entry, version: '1.1-r0' }), 'IDENTITY_MISMATCH');
  assert.equal(await verdict(bytes, { ...entry, arch: 'armhf' }), 'IDENTITY_MISMATCH');
  const foreign = makeAdbPackage(spec, [stranger]);
  assert.equal(await verdict(foreign.bytes, foreign.entry), 'accept', 'the index authenticates it');
  const broken = file(
    adb,
    patched(signature, (b) => b.writeUInt8(b.readUInt8(40) ^ 1, 40)),
    ...data,
  );
  assert.equal(await verdict(broken, { ...entry, size: broken.length }), 'SIG_UNTRUSTED', 'a trusted key, wrong');
  const damaged = patched(bytes, (b) => b.writeUInt8(b.readUInt8(b.length - 20) ^ 1, b.length - 20));
  assert.equal(await verdict(damaged, entry), 'ADB_DATA_HASH', 'data is always checked');
  assert.equal(await verdict(damaged, entry, { packageSignatures: 'ignore', inflate: false }), 'ADB_DATA_HASH');
});

test('a package of the other format than its index entry', async (t) => {
  const directory = temporaryDirectory(t);
  await using verifier = new Verifier({ workers: 1 });
  const v2 = makePackage(
    { name: 'foo', version: '1.0-r0', arch: 'x86_64', contentBytes: 100, seed: 1 },
    createSigningKey('a.rsa.pub'),
  );
  const v3 = makeAdbPackage(spec, [key]);
  const verdict = async (bytes: Buffer, entry: IndexEntry): Promise<string> =>
    word(
      await verifyPackageBytes(verifier, directory, bytes, {
        keyring,
        entry: { ...entry, size: bytes.length },
        packageSignatures: 'ignore',
      }),
    );
  assert.equal(await verdict(v2.bytes, v2.entry), 'accept');
  assert.equal(await verdict(v3.bytes, v3.entry), 'accept');
  assert.equal(await verdict(v2.bytes, v3.entry), 'IDENTITY_MISMATCH');
  assert.equal(await verdict(v3.bytes, v2.entry), 'IDENTITY_MISMATCH');
  assert.equal(await verdict(Buffer.from('<html>not found</html>'), v3.entry), 'FORMAT_UNSUPPORTED');
  assert.equal(await verdict(Buffer.from('AD'), v3.entry), 'TRUNCATED');
});

interface IndexCase {
  readonly entries?: readonly Partial<IndexEntry>[];
  readonly spec?: string;
  readonly fileName?: IndexFileName;
  readonly arch?: string | null;
  readonly by?: AdbSigningKey;
  readonly bytes?: Buffer;
  readonly expected: string;
}

const base: IndexEntry = {
  name: 'foo',
  version: '1.0-r0',
  arch: 'x86_64',
  identity: `sha256:${'ab'.repeat(32)}`,
  size: 100,
  buildTime: 1_700_000_000,
};

function indexFile(content: Buffer, ...rest: readonly Buffer[]): Buffer {
  return Buffer.concat([fileHeader('indx'), block('adb', content), signatureBlock('indx', content, key), ...rest]);
}

const indexCases: Readonly<Record<string, IndexCase>> = {
  'one package': { entries: [{}], expected: 'accept' },
  'two versions of one package': { entries: [{}, { version: '1.1-r0' }], expected: 'accept' },
  'an entry twice': { entries: [{}, {}], expected: 'accept' },
  'SHA-512 and SHA-256-160 as identities': {
    entries: [{ identity: `sha512:${'ab'.repeat(64)}` }, { name: 'bar', identity: `sha256-160:${'ab'.repeat(20)}` }],
    expected: 'accept',
  },
  'by a stranger': { entries: [{}], by: stranger, expected: 'SIG_UNTRUSTED' },
  'no package': { bytes: makeAdbIndex([], key, { description: 'empty' }), expected: 'INDEX_EMPTY' },
  'one name, two identities': {
    entries: [{}, { identity: `sha256:${'cd'.repeat(32)}` }],
    expected: 'INDEX_DUPLICATE',
  },
  'one name, two sizes': { entries: [{}, { size: 101 }], expected: 'INDEX_DUPLICATE' },
  'a name with a slash': { entries: [{ name: 'sub/foo' }], expected: 'INDEX_NAME' },
  'a name that leads upwards': { entries: [{ name: '../../foo' }], expected: 'INDEX_NAME' },
  'an empty name': { entries: [{ name: '' }], expected: 'INDEX_NAME' },
  'a name of 255 characters': { entries: [{ name: 'a'.repeat(255) }], expected: 'INDEX_NAME' },
  'a name of 300 characters': { entries: [{ name: 'a'.repeat(300) }], expected: 'ADB_SCHEMA' },
  'a version that leads upwards': { entries: [{ version: '1/../../../foo' }], expected: 'INDEX_VERSION' },
  'no version': { entries: [{ version: 'abc' }], expected: 'INDEX_VERSION' },
  'another architecture': { entries: [{ arch: 'armhf' }], expected: 'INDEX_ARCH' },
  'an architecture that is a path': { entries: [{ arch: '../..' }], arch: null, expected: 'INDEX_ARCH' },
  'noarch beside the index': { entries: [{ arch: 'noarch' }], fileName: 'packages.adb', expected: 'accept' },
  'noarch below a directory of the architecture': {
    entries: [{ arch: 'noarch' }],
    fileName: 'Packages.adb',
    expected: 'INDEX_ARCH',
  },
  'a hash of 16 bytes': { entries: [{ identity: `x:${'ab'.repeat(16)}` }], expected: 'INDEX_CHECKSUM' },
  'v3 under the name of v2': { entries: [{}], fileName: 'APKINDEX.tar.gz', expected: 'FORMAT_INDEX' },
  'a package as an index': { bytes: makeAdbPackage(spec, [key]).bytes, expected: 'ADB_SCHEMA' },
  'a DATA block': { bytes: indexFile(indexPayload([base]), dataBlock(1, 1, hello)), expected: 'ADB_BLOCK' },
  'no file size': {
    bytes: indexFile(
      made((w) =>
        w.object([
          0,
          w.object([w.object([w.text('foo'), w.text('1'), w.blob(Buffer.alloc(32)), 0, w.text('x86_64')])]),
        ]),
      ),
    ),
    expected: 'INDEX_SYNTAX',
  },
  'an entry that is a text': {
    bytes: indexFile(made((w) => w.object([0, w.object([w.text('foo')])]))),
    expected: 'ADB_SCHEMA',
  },
  'two million entries': {
    bytes: indexFile(made((w) => w.object([0, w.object(Array.from({ length: 2_000_000 }, () => 0xe0000008))]))),
    expected: 'LIMIT',
  },
  'the rule of clients, said': { entries: [{}], spec: '${name}-${version}.apk', expected: 'accept' },
  'a rule with directories and prefixes': {
    entries: [{}],
    spec: '${arch}/${name:1}/${name}-${version}.${hash:8}.apk',
    expected: 'accept',
  },
  'an absolute rule': { entries: [{}], spec: '/srv/${name}.apk', expected: 'INDEX_NAME' },
  'a rule that leads upwards': { entries: [{}], spec: '../${name}.apk', expected: 'INDEX_NAME' },
  'a rule with an empty component': { entries: [{}], spec: 'a//${name}.apk', expected: 'INDEX_NAME' },
  'a rule to another host': { entries: [{}], spec: 'https://example.org/${name}.apk', expected: 'INDEX_NAME' },
  'an unknown variable': { entries: [{}], spec: '${origin}-${name}.apk', expected: 'INDEX_NAME' },
  'an unclosed variable': { entries: [{}], spec: '${name.apk', expected: 'INDEX_NAME' },
  'a prefix of nothing': { entries: [{}], spec: '${name:0}.apk', expected: 'INDEX_NAME' },
  'a rule for hidden files': { entries: [{}], spec: '.${name}.apk', expected: 'INDEX_NAME' },
  'a rule for the name of the index': { entries: [{}], spec: 'APKINDEX.tar.gz', expected: 'INDEX_NAME' },
  'a rule with a newline': { entries: [{}], spec: '${name}\n.apk', expected: 'INDEX_NAME' },
  'two packages at one path': {
    entries: [{}, { version: '1.1-r0' }],
    spec: '${name}.apk',
    expected: 'INDEX_DUPLICATE',
  },
  'two packages at one path by their prefix': {
    entries: [{}, { name: 'foobar', identity: `sha256:${'cd'.repeat(32)}` }],
    spec: '${name:3}.apk',
    expected: 'INDEX_DUPLICATE',
  },
};

async function verifyIndexBytes(t: TestContext, verifier: Verifier, given: IndexCase) {
  const path = join(temporaryDirectory(t), 'index');
  const entries = (given.entries ?? []).map((entry) => ({ ...base, ...entry }));
  const pkgnameSpec = given.spec === undefined ? {} : { pkgnameSpec: given.spec };
  writeFileSync(path, given.bytes ?? makeAdbIndex(entries, given.by ?? key, pkgnameSpec));
  const settings = { keyring, arch: given.arch === undefined ? 'x86_64' : given.arch };
  return verifyIndexAt(
    verifier,
    path,
    given.fileName === undefined ? settings : { ...settings, fileName: given.fileName },
  );
}

test('v3 indexes', async (t) => {
  await using verifier = new Verifier({ workers: 1 });
  for (const [name, given] of Object.entries(indexCases)) {
    await t.test(`${name}: ${given.expected}`, async (each) => {
      const { verdict } = await verifyIndexBytes(each, verifier, given);
      assert.equal(word(verdict), given.expected, JSON.stringify(verdict));
    });
  }
});

test('the entries of an index come out as they were put in, with the path that the index says', async (t) => {
  await using verifier = new Verifier({ workers: 1 });
  const many = Array.from({ length: 2500 }, (_, n) => ({ name: `p${n}`, version: `${n}-r0`, size: n + 1 }));
  const { verdict, entries } = await verifyIndexBytes(t, verifier, { entries: many, expected: 'accept' });
  assert.equal(verdict.verdict === 'accepted' && verdict.index.packages, 2500);
  assert.equal(verdict.verdict === 'accepted' && verdict.index.signedBy, 'builder.pem');
  assert.equal(verdict.verdict === 'accepted' && verdict.index.newestBuildTime, base.buildTime);
  assert.deepEqual(
    entries,
    many.map((entry) => ({ ...base, ...entry })),
  );
  const rule = '${arch}/${name:2}/${version}.${hash:8}.apk';
  const ruled = await verifyIndexBytes(t, verifier, { entries: [{}], spec: rule, expected: 'accept' });
  assert.deepEqual(ruled.entries, [{ ...base, file: 'x86_64/fo/1.0-r0.abababab.apk' }]);
});
