import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { gzipSync } from 'node:zlib';
import { command } from '../../src/cli/verify.ts';
import { temporaryDirectory } from '../support/apk.ts';
import {
  endOfArchive,
  entry,
  identityOf,
  type IndexParts,
  indexOf,
  infoText,
  member,
  packageOf,
  secondTrusted,
  signature,
  trusted,
  typed,
  unknown,
} from '../support/v2-parts.ts';

interface Good {
  readonly bytes: Buffer;
  /** `C:` */
  readonly identity: string;
}

/** A right package with its identity. */
function good(changes: Readonly<Record<string, string>> = {}): Good {
  let identity = '';
  const bytes = packageOf({
    info: (dataHash) => infoText(dataHash, changes),
    before: (control) => {
      identity = identityOf(control);
      return member(signature(control));
    },
  });
  return { bytes, identity };
}

const foo = good();
const bar = good({ pkgname: 'bar' });

/** A stanza for `foo`, right but for what is given; null leaves a line out. */
function stanza(changes: Readonly<Record<string, string | null>> = {}, of: Good = foo): string {
  const lines: Record<string, string | null> = {
    C: of.identity,
    P: 'foo',
    V: '1.0-r0',
    A: 'x86_64',
    S: String(of.bytes.length),
    I: '6',
    T: 'test',
    ...changes,
  };
  const text = Object.entries(lines).flatMap(([key, value]) => (value === null ? [] : [`${key}:${value}\n`]));
  return `${text.join('')}\n`;
}

interface Repository extends Partial<IndexParts> {
  /** By file name; default the right package. */
  readonly files?: Readonly<Record<string, Buffer | ((path: string) => void)>>;
  readonly index?: Buffer;
  readonly signatures?: 'require' | 'if-present' | 'ignore';
}

const spoilt = (change: (bytes: Buffer) => Buffer, options: { readonly S?: 'old' } = {}): Repository => {
  const bytes = change(foo.bytes);
  const size = options.S === 'old' ? foo.bytes.length : bytes.length;
  return { stanzas: stanza({ S: String(size) }), files: { 'foo-1.0-r0.apk': bytes } };
};
const withBefore = (
  before: (control: Buffer) => Buffer,
  signatures: Repository['signatures'] = 'if-present',
): Repository => {
  const bytes = packageOf({ before });
  return { stanzas: stanza({ S: String(bytes.length) }), files: { 'foo-1.0-r0.apk': bytes }, signatures };
};
const field = (changes: Readonly<Record<string, string | null>>): Repository => ({ stanzas: stanza(changes) });

/** `accept`, `CODE`, `CODE (hold)` or `CODE (warn)`: the first thing that is said against the repository. */
const cases: Readonly<Record<string, readonly [Repository | (() => Repository), string]>> = {
  'i00 as it should be': [{}, 'accept'],
  'i02 no signature': [{ before: () => Buffer.alloc(0) }, 'SIG_UNTRUSTED'],
  'an index signed by a DSA label': [{ before: (i) => member(signature(i, { label: 'DSA' })) }, 'SIG_ALGORITHM'],
  'a trusted wrong signature, then a right one': [
    { before: (i) => member(signature(Buffer.from('x')), signature(i, { key: secondTrusted })) },
    'SIG_BAD',
  ],
  'an unknown key, then a trusted one': [
    { before: (i) => member(signature(i, { key: unknown }), signature(i)) },
    'accept',
  ],
  'i04 package by an unknown key': [withBefore((c) => member(signature(c, { key: unknown }))), 'accept'],
  'i04 the same, a signature required': [
    withBefore((c) => member(signature(c, { key: unknown })), 'require'),
    'SIG_UNTRUSTED',
  ],
  'i05 no signature, required': [withBefore(() => Buffer.alloc(0), 'require'), 'SIG_UNTRUSTED'],
  'i06 package by a trusted name, wrong': [withBefore(() => member(signature(Buffer.from('x')))), 'SIG_BAD'],
  'i06 the same, signatures ignored': [withBefore(() => member(signature(Buffer.from('x'))), 'ignore'), 'accept'],
  'i08 data differs': [
    () => {
      const bytes = packageOf({ rest: member(entry('usr/share/foo', 'jello\n'), endOfArchive) });
      return { stanzas: stanza({ S: String(bytes.length) }), files: { 'foo-1.0-r0.apk': bytes } };
    },
    'DATA_MISMATCH',
  ],
  'i10 S: smaller than the file': [field({ S: String(foo.bytes.length - 1) }), 'SIZE_MISMATCH'],
  'S: of 0': [field({ S: '0' }), 'SIZE_MISMATCH'],
  'no S:': [field({ S: null }), 'INDEX_SYNTAX'],
  'S: with a minus sign': [field({ S: '-1' }), 'INDEX_SYNTAX'],
  'S: in hex': [field({ S: '0x10' }), 'INDEX_SYNTAX'],
  't: that is no time': [field({ t: 'now' }), 'INDEX_SYNTAX'],
  'i12 the same stanza twice': [{ stanzas: stanza() + stanza() }, 'accept'],
  'i13 the same P and V, another C:': [{ stanzas: stanza() + stanza({}, bar) }, 'INDEX_DUPLICATE'],
  'the same P and V, another S:': [{ stanzas: stanza() + stanza({ S: '1' }) }, 'INDEX_DUPLICATE'],
  'i14 P:../../foo': [field({ P: '../../foo' }), 'INDEX_NAME'],
  'P:..': [field({ P: '..' }), 'INDEX_NAME'],
  'P: that is empty': [field({ P: '' }), 'INDEX_NAME'],
  'P: with a space': [field({ P: 'foo bar' }), 'INDEX_NAME'],
  'P: with a control character': [field({ P: 'foo\u001b[2J' }), 'INDEX_NAME'],
  'P: that begins with a dot': [field({ P: '.foo' }), 'INDEX_NAME'],
  'P: that begins with a dash': [field({ P: '-foo' }), 'INDEX_NAME'],
  'P: of 300 characters': [field({ P: 'f'.repeat(300) }), 'INDEX_NAME'],
  'P: that is not ASCII': [field({ P: 'fo\u00f6' }), 'INDEX_NAME'],
  'P: with a NUL': [field({ P: 'foo\0bar' }), 'INDEX_NAME'],
  'P: with a carriage return': [field({ P: 'foo\r' }), 'INDEX_NAME'],
  'CRLF throughout': [{ stanzas: stanza().replaceAll('\n', '\r\n') }, 'INDEX_SYNTAX'],
  'i16 V: with a space': [field({ V: '1.0 -r0' }), 'INDEX_VERSION'],
  'V: that is empty': [field({ V: '' }), 'INDEX_VERSION'],
  'V:..': [field({ V: '..' }), 'INDEX_VERSION'],
  'V: that ends in a dot': [field({ V: '1.0.' }), 'INDEX_VERSION'],
  'V: 1.0-r': [field({ V: '1.0-r' }), 'INDEX_VERSION'],
  'V: 1.0_foo': [field({ V: '1.0_foo' }), 'INDEX_VERSION'],
  'V: in upper case': [field({ V: '1.0-R0' }), 'INDEX_VERSION'],
  'i18 C:Q2': [field({ C: `Q2${Buffer.alloc(32, 7).toString('base64')}` }), 'INDEX_CHECKSUM'],
  'C:X2': [field({ C: `X2${'ab'.repeat(32)}` }), 'INDEX_CHECKSUM'],
  'i20 C:X1 in hex': [field({ C: `X1${Buffer.from(foo.identity.slice(2), 'base64').toString('hex')}` }), 'accept'],
  'C: without its Q1': [field({ C: foo.identity.slice(2) }), 'INDEX_CHECKSUM'],
  'C: that is empty': [field({ C: '' }), 'INDEX_CHECKSUM'],
  'C: without its padding': [field({ C: foo.identity.slice(0, -1) }), 'INDEX_CHECKSUM'],
  'C: of 19 bytes': [field({ C: `Q1${Buffer.alloc(19).toString('base64')}` }), 'INDEX_CHECKSUM'],
  'i22 no P:': [field({ P: null }), 'INDEX_NAME'],
  'a stanza without P: after a right one': [{ stanzas: stanza() + stanza({ P: null }) }, 'INDEX_NAME'],
  'i24 no A:': [field({ A: null }), 'INDEX_ARCH'],
  'A: that is empty': [field({ A: '' }), 'INDEX_ARCH'],
  'i26 A:noarch in x86_64': [field({ A: 'noarch' }), 'INDEX_ARCH'],
  'i28 the last empty line missing': [{ stanzas: stanza().slice(0, -1) }, 'accept'],
  'the last newline missing': [{ stanzas: stanza().slice(0, -2) }, 'accept'],
  'empty lines before and between': [{ stanzas: `\n\n${stanza()}\n\n` }, 'accept'],
  'i30 an unknown lower-case field': [field({ z: 'x' }), 'accept'],
  'a digit as a field': [field({ 1: 'x' }), 'INDEX_SYNTAX'],
  'a line of one character': [{ stanzas: `x\n${stanza()}` }, 'INDEX_SYNTAX'],
  'i32 V: twice': [{ stanzas: `V:9.9-r9\n${stanza()}` }, 'INDEX_SYNTAX'],
  'C: twice': [{ stanzas: `C:${bar.identity}\n${stanza()}` }, 'INDEX_SYNTAX'],
  'i34 a foreign file in the index': [
    { parts: (a) => [entry('README', 'hello'), a, entry('other', 'x'), endOfArchive] },
    'accept',
  ],
  'APKINDEX before DESCRIPTION': [{ parts: (a) => [a, entry('DESCRIPTION', 'x'), endOfArchive] }, 'accept'],
  'no DESCRIPTION, no end-of-archive blocks': [{ parts: (a) => [a] }, 'accept'],
  'i36 garbage after the index': [{ after: Buffer.from('garbage') }, 'FORMAT_TRAILING'],
  'an empty member after the index': [{ after: gzipSync(Buffer.alloc(0)) }, 'FORMAT_MEMBERS'],
  'i38 no APKINDEX': [{ parts: () => [entry('DESCRIPTION', 'x'), endOfArchive] }, 'FORMAT_INDEX'],
  'APKINDEX as a directory': [{ parts: () => [typed('5', 'APKINDEX'), endOfArchive] }, 'FORMAT_INDEX'],
  'APKINDEX as a symlink': [{ parts: () => [typed('2', 'APKINDEX', '', 'x'), endOfArchive] }, 'FORMAT_INDEX'],
  'i40 nothing but empty lines': [{ stanzas: '\n\n\n' }, 'INDEX_EMPTY (hold)'],
  'the index is an empty file': [{ index: Buffer.alloc(0) }, 'TRUNCATED'],
  'the index is an HTML page': [{ index: Buffer.from('<html>') }, 'TRUNCATED'],
  'the index is a long HTML page': [{ index: Buffer.from('<html>404 Not Found</html>') }, 'FORMAT_GZIP'],
  'the index is a package': [{ index: foo.bytes }, 'FORMAT_INDEX'],
  'the index cut': [{ index: indexOf({ stanzas: stanza() }).subarray(0, -20) }, 'TRUNCATED'],
  'i42 the version of another package': [
    { stanzas: stanza({ V: '2.0-r0' }), files: { 'foo-2.0-r0.apk': foo.bytes } },
    'IDENTITY_MISMATCH',
  ],
  'i41 another package under this name': [
    { stanzas: stanza({}, bar), files: { 'foo-1.0-r0.apk': bar.bytes } },
    'IDENTITY_MISMATCH',
  ],
  'a package for another architecture': [
    () => {
      const other = good({ arch: 'armhf' });
      return { stanzas: stanza({}, other), files: { 'foo-1.0-r0.apk': other.bytes } };
    },
    'IDENTITY_MISMATCH',
  ],
  'a noarch package listed for the directory': [
    () => {
      const other = good({ arch: 'noarch' });
      return { stanzas: stanza({}, other), files: { 'foo-1.0-r0.apk': other.bytes } };
    },
    'accept',
  ],
  'i44 V:1..0': [field({ V: '1..0' }), 'INDEX_VERSION'],
  'i46 a line of 200 KiB': [field({ T: 'x'.repeat(200 * 1024) }), 'LIMIT'],
  'i48 the package cut': [spoilt((b) => b.subarray(0, -20)), 'TRUNCATED'],
  'the package cut, S: of the whole': [spoilt((b) => b.subarray(0, -20), { S: 'old' }), 'TRUNCATED'],
  'i50 signature members of another size': [
    withBefore((c) => Buffer.concat([member(signature(c)), member(signature(c, { key: unknown }))])),
    'accept',
  ],
  'i52 the package is an empty file': [spoilt(() => Buffer.alloc(0)), 'TRUNCATED'],
  'the package is a directory': [{ files: { 'foo-1.0-r0.apk': (path) => mkdirSync(path) } }, 'NOT_REGULAR'],
  'the package is a symlink out of the directory': [
    { files: { 'foo-1.0-r0.apk': (path) => symlinkSync('/etc/passwd', path) } },
    'NOT_REGULAR',
  ],
  'the package is a symlink to nothing': [
    { files: { 'foo-1.0-r0.apk': (path) => symlinkSync('nowhere', path) } },
    'PACKAGE_MISSING',
  ],
  'i54 P: in another letter case': [field({ P: 'Foo' }), 'PACKAGE_MISSING'],
  'i56 CRC of the index wrong, signed so': [
    () => {
      const signed = member(entry('APKINDEX', stanza()), endOfArchive);
      signed.writeUInt8(signed.readUInt8(signed.length - 8) ^ 1, signed.length - 8);
      return { index: Buffer.concat([member(signature(signed)), signed]) };
    },
    'FORMAT_GZIP',
  ],
  'i58 a DESCRIPTION of 160 bytes': [
    { parts: (a) => [entry('DESCRIPTION', 'd'.repeat(160)), a, endOfArchive] },
    'accept',
  ],
  'end-of-archive blocks in the signature member': [
    { before: (i) => member(signature(i), endOfArchive) },
    'FORMAT_TAR',
  ],
  'tar checksum of APKINDEX wrong': [
    { parts: (a) => [Buffer.concat([a.subarray(0, 148), Buffer.from('000000'), a.subarray(154)])] },
    'FORMAT_TAR',
  ],
  'a bomb of 64 MiB in the signature member': [
    { before: (i) => member(entry(`.SIGN.RSA.${trusted.name}`, Buffer.alloc(64 * 1024 ** 2)), signature(i)) },
    'LIMIT',
  ],
  'a member of zeros between the signature and the index': [
    { before: (i) => Buffer.concat([member(signature(i)), gzipSync(Buffer.alloc(64 * 1024))]) },
    'FORMAT_MEMBERS',
  ],
};

async function said(t: Parameters<typeof temporaryDirectory>[0], repository: Repository): Promise<string> {
  const directory = temporaryDirectory(t);
  const [keys, arch] = [join(directory, 'keys'), join(directory, 'repo/x86_64')];
  mkdirSync(keys);
  mkdirSync(arch, { recursive: true });
  for (const key of [trusted, secondTrusted]) writeFileSync(join(keys, key.name), key.publicPem);
  const { index, files, signatures = 'if-present', stanzas = stanza(), ...parts } = repository;
  writeFileSync(join(arch, 'APKINDEX.tar.gz'), index ?? indexOf({ stanzas, ...parts }));
  for (const [name, bytes] of Object.entries(files ?? { 'foo-1.0-r0.apk': foo.bytes })) {
    if (Buffer.isBuffer(bytes)) writeFileSync(join(arch, name), bytes);
    else bytes(join(arch, name));
  }
  let out = '';
  const io = {
    out: (text: string): void => void (out += text),
    err: assert.fail,
    terminal: false,
    env: {},
    signal: new AbortController().signal,
  };
  await command.run(['--json', '--package-signatures', signatures, '--keys', keys, join(directory, 'repo')], io);
  const lines = out.trimEnd().split('\n');
  const all = lines.map((line) => JSON.parse(line) as { verdict: string; code: string | null });
  const first = all.find(({ code }) => code !== null);
  const mark = { held: ' (hold)', accepted: ' (warn)' }[first?.verdict ?? ''] ?? '';
  return first === undefined ? 'accept' : `${first.code}${mark}`;
}

test('hostile repositories, by the rules of the format', async (t) => {
  for (const [name, [made, expected]] of Object.entries(cases)) {
    await t.test(`${name}: ${expected}`, async (each) => {
      assert.equal(await said(each, typeof made === 'function' ? made() : made), expected);
    });
  }
});
