import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import test from 'node:test';
import { AdbWriter } from '../../src/apk/adb-writer.ts';
import { createSigningKey, type MadeEntry, makeIndex } from '../../src/apk/make.ts';
import { block, createAdbSigningKey, fileHeader, makeAdbIndex } from '../../src/apk/make-adb.ts';
import { type PackageRelations, RelationsReader } from '../../src/apk/relations.ts';

const key = createSigningKey('demo-1.rsa.pub');
const adbKey = createAdbSigningKey('demo.pem');

async function read(bytes: Buffer, pieceBytes = 1 << 20): Promise<PackageRelations[]> {
  const found: PackageRelations[] = [];
  using reader = new RelationsReader((relations) => found.push(relations));
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    // The memory of a chunk is used again: nothing may hang on it after the call.
    const piece = Buffer.from(bytes.subarray(at, at + pieceBytes));
    await reader.push(piece);
    piece.fill(0);
  }
  await reader.finish();
  return found;
}

const foo = { name: 'foo', version: '1-r0', arch: 'x86_64', size: 1, buildTime: 1 };
const relations = {
  depends: ['bar>=2', '!bad', 'so:libz.so.1', 'baz~3.1', 'cmd:sh=1-r0'],
  provides: ['so:libfoo.so.1=1.2', 'cmd:foo', 'pc:foo<4'],
};
const expected = {
  name: 'foo',
  version: '1-r0',
  arch: 'x86_64',
  file: 'foo-1-r0.apk',
  depends: ['bar', 'so:libz.so.1', 'baz', 'cmd:sh'],
  provides: ['foo', 'so:libfoo.so.1', 'cmd:foo', 'pc:foo'],
};
const bare = { ...expected, name: 'bare', file: 'bare-1-r0.apk', depends: [], provides: ['bare'] };

function entries(identity: string): MadeEntry[] {
  return [
    { ...foo, identity, ...relations },
    { ...foo, name: 'bare', identity },
  ];
}

test('a v2 index tells the names that are needed and provided, however it is cut', async () => {
  const index = makeIndex(entries('07'.repeat(20)), key, { description: 'D:not a field' });
  for (const pieceBytes of [1 << 20, 700, 7]) assert.deepEqual(await read(index, pieceBytes), [expected, bare]);
});

test('a v3 index tells them too, and where its packages lie', async () => {
  const made = entries(`sha256:${'07'.repeat(32)}`);
  for (const compression of ['plain', 'deflate', 'zstd'] as const)
    assert.deepEqual(await read(makeAdbIndex(made, adbKey, { compression }), 700), [expected, bare]);
  const elsewhere = await read(makeAdbIndex(made, adbKey, { pkgnameSpec: '${name:1}/${name}_${hash:4}.apk' }));
  assert.deepEqual(
    elsewhere.map(({ file }) => file),
    ['f/foo_0707.apk', 'b/bare_0707.apk'],
  );
});

test('an index that was cut off, or is none, is refused', async () => {
  const v2 = makeIndex(entries('07'.repeat(20)), key);
  const v3 = makeAdbIndex(entries(`sha256:${'07'.repeat(32)}`), adbKey);
  for (const whole of [v2, v3]) await assert.rejects(read(whole.subarray(0, -9)), /ends within/);
  await assert.rejects(read(Buffer.from('no index')), { name: 'FormatError' });
  await assert.rejects(read(Buffer.alloc(0)), /empty/);
});

test('a small v3 index whose packages share one long list of dependencies is given up', async () => {
  const writer = new AdbWriter();
  const one = writer.object([writer.text('a')]);
  const shared = writer.object(Array.from({ length: 100_000 }, () => one));
  const entry = writer.object([writer.text('foo'), writer.text('1'), ...Array.from({ length: 12 }, () => 0), shared]);
  const packages = writer.object(Array.from({ length: 1000 }, () => entry));
  const payload = writer.finish(writer.object([0, packages]));
  let seen = 0;
  using reader = new RelationsReader(() => {
    seen += 1;
  });
  await reader.push(Buffer.concat([fileHeader('indx'), block('adb', payload)]));
  await assert.rejects(reader.finish(), { code: 'LIMIT' });
  assert.ok(seen <= 50, `${seen} packages`);
});

const data = resolve(import.meta.dirname, '../../../shared/data');

test('real indexes are read: names as apk wrote them', async (t) => {
  const v2 = join(data, 'pmos2017/x86_64/APKINDEX.tar.gz');
  const v3 = join(data, 'samples/openwrt-v3/mossdef/packages.adb');
  if (!existsSync(v2) || !existsSync(v3)) return t.skip('shared data absent');
  const pmos = await read(readFileSync(v2));
  assert.equal(pmos.length, 139);
  const mkbootimg = pmos.find(({ name }) => name === 'mkbootimg');
  assert.deepEqual([mkbootimg?.depends, mkbootimg?.provides], [['python3'], ['mkbootimg', 'cmd:mkbootimg']]);
  const openwrt = await read(readFileSync(v3));
  assert.equal(openwrt.length, 15);
  const luci = openwrt.find(({ name }) => name === 'luci-app-adblock-fast');
  assert.deepEqual(luci?.depends, ['adblock-fast', 'libc', 'luci-base', 'rpcd-mod-ucode']);
  assert.deepEqual(luci.provides, ['luci-app-adblock-fast', 'luci-app-adblock-fast-any']);
  return undefined;
});
