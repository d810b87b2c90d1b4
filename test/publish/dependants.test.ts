import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, posix } from 'node:path';
import test, { type TestContext } from 'node:test';
import { type IndexFileName, indexFileOf } from '../../src/apk/entry.ts';
import { createSigningKey, type MadeEntry, makeIndex } from '../../src/apk/make.ts';
import { createAdbSigningKey, makeAdbIndex } from '../../src/apk/make-adb.ts';
import { type Dependants, findDependants } from '../../src/publish/dependants.ts';

const key = createSigningKey('demo-1.rsa.pub');
const adbKey = createAdbSigningKey('demo.pem');

/** `NAME-1: needs / provides`, with an architecture behind `@` where it is not the directory's. */
type Texts = readonly string[];

function entriesOf(texts: Texts, arch: string, identity: string): MadeEntry[] {
  const words = (text: string): string[] => text.split(' ').filter((word) => word !== '');
  return texts.map((text) => {
    const [, name = '', own, needs = '', provides = ''] = /^([^:@]+)-1(?:@(\w+))?: ?([^/]*)\/?(.*)$/.exec(text) ?? [];
    const made = { name, version: '1', arch: own ?? arch, identity, size: 1, buildTime: 1 };
    return { ...made, depends: words(needs), provides: words(provides) };
  });
}

interface Asked {
  readonly wanted?: () => boolean;
  /** Paths of indexes that are cut off. */
  readonly torn?: readonly string[];
}

/** What needs `recalled` (paths) among indexes, by their paths. */
async function find(
  t: TestContext,
  indexes: Readonly<Record<string, Texts>>,
  recalled: readonly string[],
  { wanted = () => true, torn = [] }: Asked = {},
): Promise<Dependants> {
  const directory = mkdtempSync(join(tmpdir(), 'lockstepd-dependants-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const rows: { repository: string; file: IndexFileName }[] = [];
  for (const [path, texts] of Object.entries(indexes)) {
    const row = { repository: posix.dirname(path), file: indexFileOf(path) };
    rows.push(row);
    const arch = posix.basename(row.repository);
    const bytes =
      row.file === 'APKINDEX.tar.gz'
        ? makeIndex(entriesOf(texts, arch, '07'.repeat(20)), key)
        : makeAdbIndex(entriesOf(texts, arch, `sha256:${'07'.repeat(32)}`), adbKey);
    mkdirSync(dirname(join(directory, path)), { recursive: true });
    writeFileSync(join(directory, path), torn.includes(path) ? bytes.subarray(0, -9) : bytes);
  }
  const files = recalled.map((path) => ({
    repository: posix.dirname(path),
    file: posix.basename(path),
    size: 1,
    held: 'served' as const,
    indexes: rows
      .map((row) => `${row.repository}/${row.file}`)
      .filter((index) => posix.dirname(index) === posix.dirname(path)),
  }));
  return findDependants(files, { directory, indexes: rows, wanted });
}

const told = ({ indexes }: Dependants): string[] =>
  indexes.map(({ index, count, needs, packages }) => `${index} ${count} ${needs.join(',')}: ${packages.join(' ')}`);

const main = 'main/x86_64/APKINDEX.tar.gz';
const community = 'community/x86_64/APKINDEX.tar.gz';

test('what needs the name of a recalled package or what it provides is found, over the repositories of its architecture', async (t) => {
  const found = await find(
    t,
    {
      [main]: [
        'foo-1: so:libc.so/so:libfoo.so.1=1.2 cmd:foo=1',
        'a-1: so:libc.so so:libfoo.so.1',
        'b-1: foo>=1 cmd:foo',
        'c-1: !foo foo-dev',
        'd-1: so:libc.so',
      ],
      [community]: ['e-1: foo~1'],
      'main/aarch64/APKINDEX.tar.gz': ['f-1: foo'],
    },
    ['main/x86_64/foo-1.apk'],
  );
  assert.deepEqual(told(found), [`${main} 2 so:libfoo.so.1,foo,cmd:foo: a-1 b-1`, `${community} 1 foo: e-1`]);
  assert.deepEqual([found.count, found.unread], [3, []]);
});

test('what something else provides that stays is not missed; what only recalled packages provide is', async (t) => {
  const indexes = {
    [main]: ['foo-1: /tool', 'a-1: foo', 'b-1: tool', 'c-1: tool'],
    [community]: ['bar-1: foo/tool=2', 'baz-1: /foo'],
  };
  assert.deepEqual(told(await find(t, indexes, ['main/x86_64/foo-1.apk'])), []);
  const both = await find(t, indexes, ['main/x86_64/foo-1.apk', 'community/x86_64/bar-1.apk']);
  assert.deepEqual(told(both), [`${main} 2 tool: b-1 c-1`]);
});

test('another release neither makes good for what goes nor misses it', async (t) => {
  const indexes = {
    'edge/main/x86_64/APKINDEX.tar.gz': ['foo-1:', 'a-1: foo'],
    'edge/community/x86_64/APKINDEX.tar.gz': ['b-1: foo'],
    'v3/main/x86_64/APKINDEX.tar.gz': ['foo-1:', 'a-1: foo'],
  };
  assert.deepEqual(told(await find(t, indexes, ['edge/main/x86_64/foo-1.apk'])), [
    'edge/main/x86_64/APKINDEX.tar.gz 1 foo: a-1',
    'edge/community/x86_64/APKINDEX.tar.gz 1 foo: b-1',
  ]);
});

test('v3 indexes too, where packages for any architecture lie beside those for one', async (t) => {
  const base = 'feeds/x86/base/packages.adb';
  const luci = 'feeds/x86/luci/packages.adb';
  const indexes = {
    [base]: ['foo-1@x86_64: /foo-any', 'any-1@noarch:', 'bar-1@x86_64: any'],
    [luci]: ['app-1@noarch: foo-any', 'other-1@noarch: any', 'arm-1@aarch64: foo any'],
  };
  assert.deepEqual(told(await find(t, indexes, ['feeds/x86/base/foo-1.apk'])), [`${luci} 1 foo-any: app-1`]);
  assert.deepEqual(told(await find(t, indexes, ['feeds/x86/base/any-1.apk'])), [
    `${base} 1 any: bar-1`,
    `${luci} 2 any: other-1 arm-1`,
  ]);
});

test('fifty are named, all are counted', async (t) => {
  const many = (letter: string): string[] => Array.from({ length: 40 }, (_, n) => `${letter}${n}-1: foo`);
  const found = await find(t, { [main]: ['foo-1:', ...many('a')], [community]: many('b') }, ['main/x86_64/foo-1.apk']);
  assert.deepEqual(
    found.indexes.map(({ count, packages }) => [count, packages.length]),
    [
      [40, 40],
      [40, 10],
    ],
  );
  assert.equal(found.count, 80);
});

test('an index that cannot be read is told, and the others are read', async (t) => {
  const torn = [community];
  const recalled = ['main/x86_64/foo-1.apk'];
  const found = await find(t, { [main]: ['foo-1:', 'a-1: foo'], [community]: ['b-1: foo'] }, recalled, { torn });
  assert.deepEqual(told(found), [`${main} 1 foo: a-1`]);
  assert.deepEqual(
    found.unread.map(({ index }) => index),
    [community],
  );
  assert.match(found.unread[0]?.reason ?? '', /ends within/);
  const stopped = await find(t, { [main]: ['foo-1:', 'a-1: foo'] }, recalled, { wanted: () => false });
  assert.deepEqual([stopped.count, stopped.unread], [0, [{ index: main, reason: 'the daemon stops' }]]);
});

test('more names than are looked for are not kept', async (t) => {
  const names = Array.from({ length: 5100 }, (_, n) => `cmd:${n}`);
  const packages = Array.from({ length: 4 }, (_, n) => `foo${n}-1: /${names.map((name) => `${name}-${n}`).join(' ')}`);
  const recalled = [0, 1, 2, 3].map((n) => `main/x86_64/foo${n}-1.apk`);
  const found = await find(t, { [main]: [...packages, 'a-1: foo0'] }, recalled);
  assert.match(found.unread[0]?.reason ?? '', /more than 20000 names/);
});
