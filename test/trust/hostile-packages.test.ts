import assert from 'node:assert/strict';
import test from 'node:test';
import { deflateRawSync, deflateSync, gzipSync } from 'node:zlib';
import { Verifier } from '../../src/trust/verify.ts';
import { keyringOf, temporaryDirectory, verifyPackageBytes, word } from '../support/apk.ts';
import {
  content,
  endOfArchive,
  entry,
  header,
  infoText,
  member,
  type PackageParts,
  packageOf,
  secondTrusted,
  signature,
  trusted,
  typed,
  unknown,
} from '../support/v2-parts.ts';

const GiB = 1024 ** 3;

function patched(bytes: Buffer, change: (copy: Buffer) => void): Buffer {
  const copy = Buffer.from(bytes);
  change(copy);
  return copy;
}

/** A gzip member of one tar entry of zeros, made piece by piece: a bomb. */
function bomb(name: string, size: number, fill = 0, type = '0'): Buffer {
  const head = header(entry(name), (h) => {
    h.write(`${size.toString(8).padStart(11, '0')} `, 124, 'latin1');
    h.write(type, 156, 'latin1');
  });
  return gzipSync(Buffer.concat([head, Buffer.alloc(size, fill)]), { level: 1 });
}

/** A gzip member with a header of its own making before the deflate data. */
function gzipWith(flags: number, fields: Buffer, parts: readonly Buffer[]): Buffer {
  const plain = Buffer.concat(parts);
  const whole = gzipSync(plain);
  return Buffer.concat([
    Buffer.from([0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 3]),
    fields,
    deflateRawSync(plain),
    whole.subarray(-8),
  ]);
}

const whole = member(content, endOfArchive);
const data = (...parts: readonly Buffer[]): PackageParts => ({ data: member(...parts) });
const info = (changes: Readonly<Record<string, string | null>>): PackageParts => ({
  info: (dataHash) => infoText(dataHash, changes),
});
const pax = (key: string, value: string): Buffer => {
  const length = key.length + value.length + 3;
  const digits = String(length + String(length).length);
  return typed('x', 'PaxHeader', `${Number(digits)} ${key}=${value}\n`);
};

/** `accept`, a code or several that are as good, or `policy`: right, but for the signature, which no trusted key has made. */
type Expected = string | readonly string[];

/** By the number that apk-formats.md gives the case where it names one; each beside its neighbour of the odd rows. */
const cases: Readonly<Record<string, readonly [PackageParts | (() => PackageParts | Buffer), Expected]>> = {
  'p00 as it should be': [{}, 'accept'],
  'p04 no signature member': [{ before: () => Buffer.alloc(0) }, 'policy'],
  'p06 a bit of the signature flipped': [
    {
      before: (c) =>
        member(
          entry(
            `.SIGN.RSA.${trusted.name}`,
            patched(trusted.sign('RSA', c), (s) => (s[9] = (s[9] ?? 0) ^ 1)),
          ),
        ),
    },
    'SIG_BAD',
  ],
  'p08 data replaced after signing': [
    { rest: member(entry('usr/share/foo', 'jello\n'), endOfArchive) },
    'DATA_MISMATCH',
  ],
  'p10 no datahash, signed to the end of the file': [
    () => {
      const control = member(entry('.PKGINFO', infoText('', { datahash: null })));
      const signed = Buffer.concat([control, whole]);
      return Buffer.concat([member(signature(signed)), signed]);
    },
    'PKGINFO_DATAHASH',
  ],
  'p12 datahash twice, the right one first': [
    { info: (h) => `${infoText(h)}datahash = ${'0'.repeat(64)}\n` },
    'PKGINFO_DATAHASH',
  ],
  'p14 datahash of 62 digits': [{ info: (h) => infoText(h.slice(2)) }, 'PKGINFO_DATAHASH'],
  'p16 datahash that is no hex': [{ info: (h) => infoText(`g${h.slice(1)}`) }, 'PKGINFO_DATAHASH'],
  'datahash of 63 digits': [{ info: (h) => infoText(h.slice(1)) }, 'PKGINFO_DATAHASH'],
  'datahash with a space at its end': [{ info: (h) => infoText(`${h} `) }, 'PKGINFO_DATAHASH'],
  'datahash without spaces about the equals sign': [
    { info: (h) => `${infoText(h, { datahash: null })}datahash=${h}\n` },
    'PKGINFO_DATAHASH',
  ],
  'p18 key name ../': [{ before: (c) => member(signature(c, { name: `../${trusted.name}` })) }, 'policy'],
  'key name ./': [{ before: (c) => member(signature(c, { name: `./${trusted.name}` })) }, 'policy'],
  'key name with another letter case': [
    { before: (c) => member(signature(c, { name: trusted.name.toUpperCase() })) },
    'policy',
  ],
  'key name without its ending': [{ before: (c) => member(signature(c, { name: 'good-1' })) }, 'policy'],
  'p20 an algorithm that does not exist': [{ before: (c) => member(signature(c, { label: 'RSA384' })) }, 'policy'],
  'an algorithm in lower case': [{ before: (c) => member(signature(c, { label: 'rsa' })) }, 'policy'],
  'p22 a SHA-1 signature labelled RSA256': [{ before: (c) => member(signature(c, { label: 'RSA256' })) }, 'SIG_BAD'],
  'a SHA-256 signature labelled RSA': [{ before: (c) => member(signature(c, { algorithm: 'RSA256' })) }, 'SIG_BAD'],
  'a SHA-256 signature labelled DSA': [
    { before: (c) => member(signature(c, { algorithm: 'RSA256', label: 'DSA' })) },
    'SIG_ALGORITHM',
  ],
  'p24 a trusted signature that is wrong, then a right one': [
    {
      before: (c) => member(signature(Buffer.from('other')), signature(c, { key: secondTrusted })),
    },
    'SIG_BAD',
  ],
  'the same over two members': [
    {
      before: (c) =>
        Buffer.concat([member(signature(Buffer.from('other'))), member(signature(c, { key: secondTrusted }))]),
    },
    'SIG_BAD',
  ],
  'p26 two members, the unknown key first': [
    { before: (c) => Buffer.concat([member(signature(c, { key: unknown })), member(signature(c))]) },
    'accept',
  ],
  'an unknown algorithm, then a right signature': [
    { before: (c) => member(signature(c, { label: 'FOO' }), signature(c)) },
    'accept',
  ],
  'a signature too long, then a right one': [
    { before: (c) => member(entry(`.SIGN.RSA.${trusted.name}`, Buffer.alloc(65537)), signature(c)) },
    'accept',
  ],
  'a signature of 65536 bytes': [
    { before: () => member(entry(`.SIGN.RSA.${trusted.name}`, Buffer.alloc(65536))) },
    'SIG_BAD',
  ],
  'p48 an empty signature': [{ before: () => member(entry(`.SIGN.RSA.${trusted.name}`)) }, 'SIG_BAD'],
  '17 signature members': [
    { before: (c) => Buffer.concat(Array.from({ length: 17 }, () => member(signature(c)))) },
    'LIMIT',
  ],
  'p28 control split over two members': [
    {
      control: (i) => Buffer.concat([member(i), member(entry('.post-install', '#!/bin/sh\n'))]),
    },
    'SIG_BAD',
  ],
  'p30 data split over two members, datahash over the first': [
    { rest: Buffer.concat([whole, member(endOfArchive)]) },
    'FORMAT_MEMBERS',
  ],
  'data split over two members within a file, datahash over both': [
    { data: Buffer.concat([member(content.subarray(0, 515)), member(content.subarray(515), endOfArchive)]) },
    'FORMAT_MEMBERS',
  ],
  'p32 garbage after the data, which datahash covers': [
    { data: Buffer.concat([whole, Buffer.from('garbage')]) },
    'FORMAT_TRAILING',
  ],
  'p34 an empty member after the data, which datahash covers': [
    { data: Buffer.concat([whole, gzipSync(Buffer.alloc(0))]) },
    'FORMAT_MEMBERS',
  ],
  'zeros after the data': [{ rest: Buffer.concat([whole, Buffer.alloc(512)]) }, 'FORMAT_TRAILING'],
  'one zero byte after the data, which datahash covers': [
    { data: Buffer.concat([whole, Buffer.alloc(1)]) },
    'FORMAT_TRAILING',
  ],
  'one byte 0x1f after the data': [{ rest: Buffer.concat([whole, Buffer.from([0x1f])]) }, 'FORMAT_TRAILING'],
  'p36 data cut, datahash over the cut': [{ data: whole.subarray(0, -20) }, 'TRUNCATED'],
  'the trailer of the data cut, datahash over the cut': [{ data: whole.subarray(0, -3) }, 'TRUNCATED'],
  'p38 cut within control': [
    () => {
      const bytes = packageOf();
      return bytes.subarray(0, bytes.length - whole.length - 30);
    },
    'TRUNCATED',
  ],
  'cut right after the signature member': [
    () => {
      const control = member(entry('.PKGINFO', infoText('0'.repeat(64))));
      return member(signature(control));
    },
    'TRUNCATED',
  ],
  'p40 CRC of the data wrong, datahash over it': [
    { data: patched(whole, (b) => b.writeUInt8(b.readUInt8(b.length - 8) ^ 1, b.length - 8)) },
    'FORMAT_GZIP',
  ],
  'length of the data wrong, datahash over it': [
    { data: patched(whole, (b) => b.writeUInt8(b.readUInt8(b.length - 4) ^ 1, b.length - 4)) },
    'FORMAT_GZIP',
  ],
  'CRC of control wrong, signed so': [
    { control: (i) => patched(member(i), (b) => b.writeUInt8(b.readUInt8(b.length - 8) ^ 1, b.length - 8)) },
    'FORMAT_GZIP',
  ],
  'p42 tar checksum wrong in control': [
    { control: (i) => member(header(i, (h) => h.write('000000', 148, 'latin1'), false)) },
    'FORMAT_TAR',
  ],
  'tar checksum wrong in the signature member': [
    { before: (c) => member(header(signature(c), (h) => h.write('000000', 148, 'latin1'), false)) },
    'FORMAT_TAR',
  ],
  'p44 no ustar magic in control': [{ control: (i) => member(header(i, (h) => h.fill(0, 257, 263))) }, 'FORMAT_TAR'],
  'p46 a negative size in the data': [
    data(
      header(content, (h) => h.fill(0xff, 124, 136)),
      endOfArchive,
    ),
    'FORMAT_TAR',
  ],
  'a size with a minus sign': [
    data(
      header(content, (h) => h.write('-0000000001', 124)),
      endOfArchive,
    ),
    'FORMAT_TAR',
  ],
  'a base-256 size in control': [
    {
      control: (i) =>
        member(
          header(i, (h) => {
            const size = Number.parseInt(h.toString('latin1', 124, 135), 8);
            h.fill(0, 124, 136);
            h.writeUInt8(0x80, 124);
            h.writeUInt32BE(size, 132);
          }),
        ),
    },
    'FORMAT_TAR',
  ],
  'p50 a bomb of 1 GiB in the data, signed': [() => ({ data: bomb('usr/share/zeros', GiB) }), 'LIMIT'],
  'p52 a pax header of 64 MiB in the data': [() => ({ data: bomb('PaxHeader', 64 * 1024 ** 2, 0x61, 'x') }), 'LIMIT'],
  'a pax header of 16 MiB in control': [
    () => ({ control: (i) => Buffer.concat([bomb('PaxHeader', 16 * 1024 ** 2, 0x61, 'x'), member(i)]) }),
    ['LIMIT', 'SIG_BAD'],
  ],
  'a script of 256 KiB': [
    { control: (i) => member(i, entry('.post-install', Buffer.alloc(256 * 1024, 0x23))) },
    'accept',
  ],
  'a control member of 9 MiB': [
    { control: (i) => member(i, entry('.post-install', Buffer.alloc(9 * 1024 ** 2, 0x23))) },
    'LIMIT',
  ],
  'a line of 200 KiB in .PKGINFO': [info({ pkgdesc: 'x'.repeat(200 * 1024) }), 'LIMIT'],
  'p54 a control character in a data path': [data(entry('usr/fo\no'), endOfArchive), 'DATA_PATH'],
  'a data path /etc/evil': [data(entry('/etc/evil'), endOfArchive), 'DATA_PATH'],
  'a data path usr/../etc/evil': [data(entry('usr/../etc/evil'), endOfArchive), 'DATA_PATH'],
  'a data path ./usr/foo': [data(entry('./usr/foo'), endOfArchive), 'DATA_PATH'],
  'a data path usr/./foo': [data(entry('usr/./foo'), endOfArchive), 'DATA_PATH'],
  'a data path that pax leads upwards': [data(pax('path', '../evil'), content, endOfArchive), 'DATA_PATH'],
  'a hard link to a path upwards': [data(typed('1', 'usr/foo', '', '../../etc/shadow'), endOfArchive), 'DATA_PATH'],
  'a symlink to an absolute path': [data(typed('2', 'usr/foo', '', '/etc/foo'), endOfArchive), 'accept'],
  'directories in the data': [data(typed('5', 'usr/'), typed('5', 'usr/share/'), content, endOfArchive), 'accept'],
  'a pax checksum in the data': [data(pax('APK-TOOLS.checksum.SHA1', '0'.repeat(40)), content, endOfArchive), 'accept'],
  'p56 .PKGINFO not first in control': [
    { control: (i) => member(entry('.post-install', '#!/bin/sh\n'), i) },
    'FORMAT_CONTROL',
  ],
  'p58 a .PKGINFO within the data': [data(entry('.PKGINFO', 'pkgname = evil\n'), content, endOfArchive), 'accept'],
  'p60 end-of-archive blocks in the signature member': [
    { before: (c) => member(signature(c), endOfArchive) },
    'FORMAT_TAR',
  ],
  'one block of zeros in control': [{ control: (i) => member(i, Buffer.alloc(512)) }, 'FORMAT_TAR'],
  'p62 the data ends within a record': [data(content, Buffer.alloc(100)), 'FORMAT_TAR'],
  'the data ends within a file': [data(content.subarray(0, 514)), 'FORMAT_TAR'],
  'control ends within a record': [{ control: (i) => member(i, Buffer.alloc(100)) }, 'FORMAT_TAR'],
  'data of nothing but end-of-archive blocks': [data(endOfArchive), 'accept'],
  'p64 a file in control that is not dot-named': [
    { control: (i) => member(i, entry('usr/bin/foo', 'x')) },
    'FORMAT_CONTROL',
  ],
  'a directory in control': [{ control: (i) => member(i, typed('5', '.dir/')) }, 'FORMAT_CONTROL'],
  'a symlink as .PKGINFO': [{ control: () => member(typed('2', '.PKGINFO', '', '/etc/passwd')) }, 'FORMAT_CONTROL'],
  'p66 a signature entry within control': [
    () => {
      const right = packageOf({
        before: () => Buffer.alloc(0),
        control: (i) => member(i, signature(Buffer.from('any'))),
      });
      return right;
    },
    'policy',
  ],
  'p68 data as a zlib stream, datahash over it': [
    { data: deflateSync(Buffer.concat([content, endOfArchive])) },
    'FORMAT_GZIP',
  ],
  'control as a zlib stream, signed so': [{ control: (i) => deflateSync(i) }, 'FORMAT_GZIP'],
  'p70 an empty file': [() => Buffer.alloc(0), 'TRUNCATED'],
  'p72 an HTML page': [() => Buffer.from('<!DOCTYPE html><html><body>404 Not Found</body></html>\n'), 'FORMAT_GZIP'],
  'p74 pkgver = 1/../../x': [info({ pkgver: '1/../../x' }), 'IDENTITY_NAME'],
  'pkgname with a slash': [info({ pkgname: 'sub/foo' }), 'IDENTITY_NAME'],
  'pkgname that is empty': [info({ pkgname: '' }), 'IDENTITY_NAME'],
  'pkgver that is no version': [info({ pkgver: 'abc' }), 'IDENTITY_NAME'],
  'arch that is a path': [info({ arch: '../x' }), 'IDENTITY_NAME'],
  'pkgname twice': [{ info: (h) => `pkgname = evil\n${infoText(h)}` }, 'PKGINFO_SYNTAX'],
  'CR alone in .PKGINFO': [info({ pkgdesc: 'a\rb' }), 'PKGINFO_SYNTAX'],
  'p76 no newline at the end': [{ info: (h) => infoText(h).slice(0, -1) }, 'accept'],
  'comments and unknown keys': [{ info: (h) => `# made\nfoo = bar\n${infoText(h)}` }, 'accept'],
  'p78 a gzip member with a file name': [
    { data: gzipWith(8, Buffer.from('data.tar\0'), [content, endOfArchive]) },
    'accept',
  ],
  'a gzip member with extra field and comment': [
    { data: gzipWith(4 | 16, Buffer.from('\x02\x00abhello\0', 'latin1'), [content, endOfArchive]) },
    'accept',
  ],
  'a gzip member with reserved flags': [
    { data: gzipWith(0x20, Buffer.alloc(0), [content, endOfArchive]) },
    'FORMAT_GZIP',
  ],
  'p80 no pkgver': [info({ pkgver: null }), 'IDENTITY_NAME'],
  'p82 a foreign dot entry before the signature, in its member': [
    { before: (c) => member(entry('.foo', 'x'), signature(c)) },
    ['FORMAT_SIGNATURE', 'FORMAT_CONTROL'],
  ],
  'a foreign entry after the signature, in its member': [
    { before: (c) => member(signature(c), entry('.foo', 'x')) },
    'FORMAT_SIGNATURE',
  ],
  'a signature entry that is a symlink': [
    { before: () => member(typed('2', `.SIGN.RSA.${trusted.name}`, '', 'x')) },
    'FORMAT_SIGNATURE',
  ],
  'junk between the signature and control': [
    { before: (c) => Buffer.concat([member(signature(c)), Buffer.from('junk')]) },
    'FORMAT_GZIP',
  ],
  'an empty member between the signature and control': [
    { before: (c) => Buffer.concat([member(signature(c)), gzipSync(Buffer.alloc(0))]) },
    'FORMAT_MEMBERS',
  ],
  'all in one member': [
    () => {
      const inner = Buffer.concat([entry('.PKGINFO', infoText('0'.repeat(64))), content, endOfArchive]);
      const control = gzipSync(inner);
      return Buffer.concat([member(signature(control)), control]);
    },
    ['FORMAT_CONTROL', 'FORMAT_TAR'],
  ],
};

test('hostile packages that stand alone, by the rules of the format', async (t) => {
  const directory = temporaryDirectory(t);
  const keyring = keyringOf(trusted, secondTrusted);
  await using verifier = new Verifier({ workers: 2 });
  for (const [name, [made, expected]] of Object.entries(cases)) {
    await t.test(`${name}: ${String(expected)}`, async () => {
      const given = typeof made === 'function' ? made() : made;
      const bytes = Buffer.isBuffer(given) ? given : packageOf(given);
      const found = async (packageSignatures: 'require' | 'ignore'): Promise<string> =>
        word(await verifyPackageBytes(verifier, directory, bytes, { keyring, packageSignatures }));
      const strict = await found('require');
      if (expected !== 'policy') {
        assert.ok([expected].flat().includes(strict), `${strict}, expected ${String(expected)}`);
        return;
      }
      assert.equal(strict, 'SIG_UNTRUSTED');
      assert.equal(await found('ignore'), 'accept');
    });
  }
});
