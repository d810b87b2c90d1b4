import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import test from 'node:test';
import { gunzipSync } from 'node:zlib';
import * as fc from 'fast-check';
import { compareVersions, isVersion, newestVersion } from '../../src/apk/version.ts';

/** The examples of apk-formats.md, section 6, tried with apk itself, and what real repositories hold besides. */
const older: readonly (readonly [string, string])[] = [
  ['1.0_rc1', '1.0'],
  ['1.0', '1.0_p1'],
  ['1.9', '1.10'],
  ['1.0_pre1', '1.0_rc1'],
  ['1.0b_rc1', '1.0b'],
  ['1.0_rc', '1.0_rc0'],
  ['1.0_p1_rc2', '1.0_p1'],
  ['9', '20240101'],
  ['1.01', '1.1'],
  ['1', '1.0'],
  ['1.0', '1.0-r0'],
  ['1.0', '1.0a'],
  ['1.0', '1.0_git1'],
  ['1.0', '1.0~abc'],
  ['1.0_alpha', '1.0_beta'],
  ['1.0_beta2', '1.0_pre1'],
  ['1.0', '1.0_cvs1'],
  ['1.0_cvs9', '1.0_svn1'],
  ['1.0_svn9', '1.0_git1'],
  ['1.0_git9', '1.0_hg1'],
  ['1.0_hg9', '1.0_p1'],
  ['1.0-r9', '1.0-r10'],
  ['1.0a', '1.0b'],
  ['1.0-r3', '1.0.1-r0'],
  ['1.0-r0', '1.0~abc'],
  ['1.0.18446744073709551615', '1.0.18446744073709551616'],
  ['1.0_git9007199254740992', '1.0_git9007199254740993'],
  // Looser than apk.
  ['6.8.0p2-r4', '6.8.0p3-r0'],
  ['6.8.0p9-r4', '6.8.0p10-r0'],
  ['6.8.0-r4', '6.8.0p2-r0'],
  ['6.0_0002-r1', '6.0_0003-r0'],
  ['6.0-r1', '6.0_0002-r1'],
  ['6.0_rc1', '6.0_0002'],
];

const equal: readonly (readonly [string, string])[] = [
  ['01', '1'],
  ['1.0-r01', '1.0-r1'],
  ['1.0', '1.0'],
  // What cannot be read ends the comparison, whatever it is.
  ['1.0_foo', '1.0_bar'],
  ['1.0.', '1.0_foo'],
  ['abc', ''],
  ['1..0', '1.'],
];

for (const [a, b] of older) {
  test(`${a} is older than ${b}`, () => {
    assert.ok(compareVersions(a, b) < 0);
    assert.ok(compareVersions(b, a) > 0);
    assert.equal(newestVersion([a, b, a]), b);
  });
}

for (const [a, b] of equal) {
  test(`${JSON.stringify(a)} and ${JSON.stringify(b)} are equal`, () => assert.equal(compareVersions(a, b), 0));
}

const digits = fc.stringMatching(/^(?:0{0,2}[0-9]{1,3}|[0-9]{18,22})$/);
const maybe = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | ''> =>
  fc.oneof({ weight: 2, arbitrary: fc.constant('' as const) }, { weight: 1, arbitrary });
const suffix = fc
  .tuple(fc.constantFrom('alpha', 'beta', 'pre', 'rc', 'cvs', 'svn', 'git', 'hg', 'p'), maybe(digits))
  .map((parts) => `_${parts.join('')}`);
const version = fc
  .tuple(
    fc.constantFrom('0', '1', '01', '2'),
    fc.array(fc.constantFrom('.0', '.1', '.01', '.10', '.2', '.00'), { maxLength: 2 }).map((p) => p.join('')),
    maybe(fc.constantFrom('a', 'b', 'p2', 'p10')),
    fc.array(fc.oneof(suffix, fc.constant('_0002')), { maxLength: 2 }).map((p) => p.join('')),
    maybe(fc.constantFrom('~a', '~ab', '~0')),
    maybe(fc.constantFrom('-r0', '-r1', '-r01', '-r10')),
    maybe(fc.constantFrom('', '.', '_foo', '-r', 'aa', '~xyz')),
  )
  .map((parts) => parts.join(''));

test('the order is total: every two versions compare, one way round as the other, without circles', () => {
  fc.assert(
    fc.property(version, version, version, (a, b, c) => {
      assert.equal(compareVersions(a, a), 0);
      assert.equal(Math.sign(compareVersions(a, b)) + Math.sign(compareVersions(b, a)), 0);
      if (compareVersions(a, b) <= 0 && compareVersions(b, c) <= 0) assert.ok(compareVersions(a, c) <= 0);
      if (compareVersions(a, b) === 0) {
        assert.equal(Math.sign(compareVersions(a, c)), Math.sign(compareVersions(b, c)));
      }
    }),
    { numRuns: 20_000 },
  );
});

test('any two texts compare', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (a, b) => {
      assert.equal(Math.sign(compareVersions(a, b)) + Math.sign(compareVersions(b, a)), 0);
    }),
  );
});

test('the order reads to the end of whatever the grammar takes', () => {
  fc.assert(
    fc.property(version, (text) => {
      // One token more is newer or, before a release, older: never equal, unless what was there could not be read.
      if (isVersion(text) && !text.includes('-r')) assert.notEqual(compareVersions(text, `${text}-r0`), 0);
    }),
    { numRuns: 5000 },
  );
});

test('the versions of real repositories are in order', (t) => {
  const shared = resolve(import.meta.dirname, '../../../shared/data');
  if (!existsSync(shared)) {
    t.skip('the real repositories are absent');
    return;
  }
  const versions = new Map<string, string[]>();
  for (const path of globSync('**/APKINDEX.tar.gz', { cwd: shared, exclude: ['hostile/**'] })) {
    const text = gunzipSync(readFileSync(join(shared, path))).toString('latin1');
    for (const [, name = '', v = ''] of text.matchAll(/^P:(.+)\nV:(.+)$/gm))
      versions.set(name, [...(versions.get(name) ?? []), v]);
  }
  assert.ok(versions.size > 1000, `${versions.size} names`);
  for (const list of versions.values()) {
    const sorted = list.sort(compareVersions);
    for (const [i, v] of sorted.entries()) {
      assert.ok(isVersion(v), v);
      assert.ok(i === 0 || compareVersions(sorted[i - 1] ?? '', v) <= 0);
    }
  }
});
