import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { changesOfName, type PackageOfName } from '../../src/apk/changes.ts';

/** `1-r0=x` is version 1-r0 with identity x. */
const list = (text: string): PackageOfName[] =>
  text === ''
    ? []
    : text.split(' ').map((word) => {
        const [version = '', identity = ''] = word.split('=');
        return { version, identity };
      });

for (const [before, after, left, expected] of [
  ['', '1=x', '', 'added >1'],
  ['1=x', '', '', 'removed 1>'],
  ['1=x', '1=x', '', ''],
  ['1=x', '2=y', '', 'upgraded 1>2'],
  ['1.9=x', '1.10=y', '', 'upgraded 1.9>1.10'],
  ['2=x', '1=y', '', 'downgraded 2>1'],
  ['1=x', '1=y', '', 'rebuilt 1>1'],
  ['1=x', '1=y 2=z', '', 'rebuilt 1>1, upgraded 1>2'],
  ['1=x 2=y', '1=x', '', 'downgraded 2>1'],
  ['1=x 2=y', '2=y', '', 'removed 1>'],
  ['2=y', '1=x 2=y', '', 'added >1'],
  ['1.0-r01=x', '1.0-r1=y', '', 'added >1.0-r1, removed 1.0-r01>'],
  ['', '1=y', '1=x', 'rebuilt 1>1'],
  ['', '1=x', '1=x', 'added >1'],
  ['2=y', '1=z', '1=x', 'rebuilt 1>1, downgraded 2>1'],
  ['1=x', '1=x', '1=old', ''],
] as const) {
  test(`${before || 'nothing'} to ${after || 'nothing'}${left && `, ${left} left before`}: ${expected || 'no change'}`, () => {
    const found = changesOfName('a', list(before), list(after), list(left));
    assert.equal(found.map((c) => `${c.kind} ${c.from ?? ''}>${c.to ?? ''}`).join(', '), expected);
  });
}

const packages = fc.uniqueArray(
  fc.record({ version: fc.constantFrom('1', '2', '10', '1.0', '01'), identity: fc.constantFrom('x', 'y') }),
  { selector: (p) => p.version },
);

test('the same list is no change, and any other list of versions or identities is one', () => {
  fc.assert(
    fc.property(packages, packages, (before, after) => {
      assert.deepEqual(changesOfName('a', before, before, []), []);
      const key = (of: readonly PackageOfName[]): string =>
        of
          .map((p) => `${p.version}=${p.identity}`)
          .sort()
          .join();
      const found = changesOfName('a', before, after, []);
      assert.equal(found.length === 0, key(before) === key(after));
      const back = changesOfName('a', after, before, []).map((c) => c.kind);
      assert.equal(
        found.some((c) => c.kind === 'downgraded'),
        back.includes('upgraded'),
      );
      assert.equal(
        found.some((c) => c.kind === 'rebuilt'),
        back.includes('rebuilt'),
      );
    }),
  );
});
