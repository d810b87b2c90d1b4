import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { type Assessment, planBatch, reasonsOf } from '../../src/ingest/batch.ts';

const kinds = ['closed', 'leaving', 'incomplete', 'refused', 'guarded'] as const;
const one = (kind: (typeof kinds)[number], repository: string = kind, index = `${repository}/i`): Assessment => {
  const base = { repository, index, sha256: 'a', base: 1, vanished: kind === 'leaving' };
  return kind === 'closed' || kind === 'leaving'
    ? { ...base, kind }
    : { ...base, kind, reasons: [{ code: 'INCOMPLETE', path: repository, detail: '' }] };
};
const names = (group: readonly Assessment[]): string[] => group.map((a) => a.repository);

const anyBatch = fc.uniqueArray(
  fc.record({ repository: fc.string({ minLength: 1, maxLength: 4 }), kind: fc.constantFrom(...kinds) }),
  { selector: (a) => a.repository },
);
const anyFacts = fc.record({
  uploading: fc.boolean(),
  settled: fc.boolean(),
  whole: fc.boolean(),
  missingPackages: fc.constantFrom('hold' as const, 'publish' as const),
});

for (const [kind, settled, missingPackages, fate] of [
  ['closed', false, 'hold', 'publish'],
  ['closed', true, 'hold', 'publish'],
  ['leaving', false, 'publish', 'wait'],
  ['leaving', true, 'hold', 'publish'],
  ['incomplete', false, 'hold', 'wait'],
  ['incomplete', true, 'hold', 'hold'],
  ['incomplete', false, 'publish', 'wait'],
  ['incomplete', true, 'publish', 'publish'],
  ['refused', false, 'publish', 'wait'],
  ['refused', true, 'publish', 'reject'],
  ['guarded', false, 'publish', 'wait'],
  ['guarded', true, 'publish', 'hold'],
] as const) {
  test(`${kind}, ${settled ? 'settled' : 'unsettled'}, missing packages ${missingPackages}: ${fate}`, () => {
    const decision = planBatch([one(kind)], { uploading: false, settled, whole: true, missingPackages });
    assert.deepEqual(names(decision[fate]), [kind]);
  });
}

test('each repository has one fate, and during an upload it is to wait', () => {
  fc.assert(
    fc.property(anyBatch, anyFacts, (batch, facts) => {
      const assessments = batch.map(({ kind, repository }) => one(kind, repository));
      const decision = planBatch(assessments, facts);
      const all = [...decision.publish, ...decision.wait, ...decision.hold, ...decision.reject];
      assert.deepEqual(names(all).sort(), names(assessments).sort());
      if (facts.uploading) assert.equal(decision.wait.length, assessments.length);
      if (!facts.whole && !facts.settled) assert.deepEqual(decision.publish, []);
      const goesOut = ['closed', ...(facts.settled ? ['incomplete', 'leaving'] : [])];
      assert.ok(decision.publish.every((a) => goesOut.includes(a.kind)));
    }),
  );
});

test('what others are does not change the fate of a repository', () => {
  fc.assert(
    fc.property(anyBatch, anyFacts, fc.constantFrom(...kinds), (batch, facts, kind) => {
      const others = batch.map((a) => one(a.kind, `other/${a.repository}`));
      const fateIn = (group: readonly Assessment[]): string | undefined =>
        Object.entries(planBatch(group, facts)).find(([, members]) =>
          names(members as Assessment[]).includes('me'),
        )?.[0];
      assert.equal(fateIn([...others, one(kind, 'me')]), fateIn([one(kind, 'me')]));
    }),
  );
});

test('a closed repository has no reasons, any other keeps its own', () => {
  assert.deepEqual(reasonsOf(one('closed')), []);
  assert.equal(reasonsOf(one('refused')).length, 1);
});

test('the indexes of one repository share a fate; other repositories have their own', () => {
  const facts = { uploading: false, settled: true, whole: true, missingPackages: 'hold' as const };
  const v2 = one('closed', 'r', 'r/APKINDEX.tar.gz');
  const other = one('closed', 'other');
  for (const [kind, fate] of [
    ['closed', 'publish'],
    ['incomplete', 'hold'],
    ['guarded', 'hold'],
    ['refused', 'reject'],
  ] as const) {
    const v3 = one(kind, 'r', 'r/Packages.adb');
    const decision = planBatch([v2, v3, other], facts);
    assert.ok(decision[fate].includes(v2) && decision[fate].includes(v3), `${kind}: ${fate}`);
    assert.ok(decision.publish.includes(other));
  }
  const unsettled = planBatch([v2, one('refused', 'r', 'r/Packages.adb')], { ...facts, settled: false });
  assert.equal(unsettled.wait.length, 2, 'what may still be mended is waited for');
});
