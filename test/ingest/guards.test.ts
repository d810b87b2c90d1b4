import assert from 'node:assert/strict';
import test from 'node:test';
import type { ChangeKind, PackageChange } from '../../src/apk/changes.ts';
import { type GuardSettings, toGuards } from '../../src/config/guards-schema.ts';
import { parseTemplate } from '../../src/config/template.ts';
import { type GuardFacts, type GuardRules, guardFindings, judge, vanishedFindings } from '../../src/ingest/guards.ts';
import { noChanges } from '../../src/store/changes.ts';
import type { Decision } from '../../src/store/decisions.ts';

const defaults = toGuards({}, {});
const rules = (guards: GuardSettings = defaults, approval: GuardRules['approval'] = 'if-held'): GuardRules => ({
  approval,
  guards,
});
const known = { sha256: 'old', description: null, newestBuildTime: 1000, current: true };
const quiet: GuardFacts = {
  repository: 'main/x86_64',
  index: { sha256: 'new', packages: 100, description: null, newestBuildTime: 2000 },
  known,
  served: null,
  elsewhere: null,
  live: 100,
  removals: 0,
  changes: noChanges,
};
const changed = (kind: ChangeKind, ...first: PackageChange[]): GuardFacts['changes'] => ({
  counts: { ...noChanges.counts, [kind]: first.length + 1 },
  first: { ...noChanges.first, [kind]: first },
});
const index = (over: Partial<GuardFacts['index']>): Partial<GuardFacts> => ({ index: { ...quiet.index, ...over } });
const template = (text: string): GuardSettings['mayVanish'] => {
  const parsed = parseTemplate(text);
  return 'value' in parsed ? [parsed.value] : [];
};
const mayVanish = rules({ ...defaults, mayVanish: template('main/{arch}') });

/** Title, what differs from a quiet batch, `code detail` of each finding, other rules. */
const table: readonly (readonly [string, Partial<GuardFacts>, readonly string[], GuardRules?])[] = [
  ['a quiet batch', {}, []],
  ['the first index of a repository', { known: null, live: 0 }, []],
  [
    'an index of before the state was lost',
    { publishedBefore: true },
    ['reject REPLAY this index was published before the state was lost and is not the one that is served'],
  ],
  [
    'one of before the state was lost, where nothing is served now',
    { publishedBefore: true, known: null },
    ['REPLAY this index was published before the state was lost'],
  ],
  [
    'one of before the state was lost that was published since',
    { publishedBefore: true, served: { first: 3, last: null }, known: { ...known, sha256: 'new' } },
    [],
  ],
  ['one package of three gone', { live: 3, removals: 1 }, []],
  ['thirty of a hundred gone', { removals: 30 }, []],
  ['thirty-one of a hundred gone', { removals: 31 }, ['MASS_REMOVAL removes 31 of 100 packages, more than 30 %']],
  ['a part that is allowed', { removals: 31 }, [], rules(toGuards({ max_removed_percent: 31 }, {}))],
  ['500 of 10,000 gone', { live: 10_000, removals: 500 }, []],
  ['501 gone', { live: 10_000, removals: 501 }, ['MASS_REMOVAL removes 501 of 10000 packages, more than 500']],
  ['many gone where that is allowed', { removals: 99 }, [], rules(toGuards({ mass_removal: 'allow' }, {}))],
  [
    'an empty index',
    { ...index({ packages: 0, newestBuildTime: null }), removals: 100 },
    ['INDEX_EMPTY the index names no package; 100 packages would leave'],
  ],
  [
    'a downgrade',
    { changes: changed('downgraded', { kind: 'downgraded', name: 'a', from: '2-r0', to: '1-r0' }) },
    ['DOWNGRADE downgrades 2 packages: a 2-r0 to 1-r0, and 1 more'],
  ],
  [
    'a rebuild',
    { changes: changed('rebuilt', { kind: 'rebuilt', name: 'a', from: '2-r0', to: '2-r0' }) },
    ['REBUILT has other bytes under the same version for 2 packages: a 2-r0, and 1 more'],
  ],
  ['upgrades', { changes: changed('upgraded', { kind: 'upgraded', name: 'a', from: '1', to: '2' }) }, []],
  [
    'the index of another repository',
    { elsewhere: 'edge/x86_64' },
    ['REPLAY this index was published as that of edge/x86_64'],
  ],
  [
    'the index of another repository where that is allowed',
    { elsewhere: 'edge/x86_64' },
    [],
    rules(toGuards({ copied_index: 'allow' }, {})),
  ],
  [
    'the same day in both DESCRIPTIONs, and an older build time',
    {
      ...index({ description: 'main 2026-11-22', newestBuildTime: 999 }),
      known: { ...known, description: 'main 2026-11-22' },
    },
    [
      'DOWNGRADE its newest package was built at 1970-01-01T00:16:39Z, that of the index that is served at 1970-01-01T00:16:40Z',
    ],
  ],
  ['the same newest build time', index({ newestBuildTime: 1000 }), []],
  ['no build time', index({ newestBuildTime: null }), []],
  [
    'an older build time',
    index({ newestBuildTime: 999 }),
    [
      'DOWNGRADE its newest package was built at 1970-01-01T00:16:39Z, that of the index that is served at 1970-01-01T00:16:40Z',
    ],
  ],
  [
    'a build time past the end of the calendar',
    { known: { ...known, newestBuildTime: 9e15 } },
    [
      'DOWNGRADE its newest package was built at 1970-01-01T00:33:20Z, that of the index that is served at second 9000000000000000',
    ],
  ],
  [
    'an older index of a repository that left',
    { known: { ...known, newestBuildTime: 3000, current: false } },
    [
      'DOWNGRADE its newest package was built at 1970-01-01T00:33:20Z, that of the index that is served at 1970-01-01T00:50:00Z',
    ],
  ],
  [
    'an older DESCRIPTION, though newer packages',
    {
      ...index({ description: 'v3.17.3-215-g54a39ace82a' }),
      known: { ...known, description: 'v3.17.3-216-g54a39ace82a' },
    },
    ['DOWNGRADE by its DESCRIPTION it is older than the index that is served'],
  ],
  [
    'a newer DESCRIPTION, though older packages',
    {
      ...index({ description: 'v3.17.4-1-g54a39ace82a', newestBuildTime: 1 }),
      known: { ...known, description: 'v3.17.3-216-g54a39ace82a' },
    },
    [],
  ],
  [
    'an index that was replaced',
    { served: { first: 3, last: 7 } },
    ['reject REPLAY this index was published as generation 3 and replaced after 7; only a rollback may bring it back'],
  ],
  [
    'an index that was rolled back from',
    { served: { first: 3, last: 7 }, rolledBack: { who: 'alice', why: 'no boot', target: 2 } },
    [
      'REPLAY this index was published as generation 3 and taken away: alice rolled back to generation 2 (no boot); approve to publish it again',
    ],
  ],
  [
    'one that was rolled back from and is served again',
    {
      known: { ...known, sha256: 'new' },
      served: { first: 3, last: null },
      rolledBack: { who: 'alice', why: '', target: 2 },
    },
    [],
  ],
  [
    'a repository that a rollback took away, where repositories come and go',
    {
      known: { ...known, sha256: 'new', current: false },
      served: { first: 3, last: 7 },
      rolledBack: { who: 'alice', why: '', target: 2 },
    },
    [
      'REPLAY this index was published as generation 3 and taken away: alice rolled back to generation 2; approve to publish it again',
    ],
    mayVanish,
  ],
  [
    'the index that is served',
    { known: { ...known, sha256: 'new' }, served: { first: 3, last: null }, removals: 99 },
    [],
  ],
  [
    'the last index of a repository that left',
    { known: { ...known, sha256: 'new', current: false, newestBuildTime: 2000 }, served: { first: 3, last: 7 } },
    ['REPLAY this index was published as generation 3 and left after 7 with its repository'],
  ],
  [
    'the same, where repositories come and go',
    { known: { ...known, sha256: 'new', current: false, newestBuildTime: 2000 }, served: { first: 3, last: 7 } },
    [],
    mayVanish,
  ],
  [
    'an index that was replaced, from an upstream',
    { served: { first: 3, last: 7 } },
    [
      'REPLAY this index was published as generation 3 and replaced after 7; approve only if the operator of the upstream says that it was rolled back there',
    ],
    { ...rules(), fedBy: 'upstream' },
  ],
  [
    'an index from before the state was lost, from an upstream',
    { known: { ...known, current: true }, publishedBefore: true },
    ['REPLAY this index was published before the state was lost and is not the one that is served'],
    { ...rules(), fedBy: 'upstream' },
  ],
  [
    'an index that was replaced, where repositories come and go',
    { known: { ...known, current: false }, served: { first: 3, last: 7 } },
    ['reject REPLAY this index was published as generation 3 and replaced after 7; only a rollback may bring it back'],
    mayVanish,
  ],
  [
    'approval required',
    { changes: changed('upgraded', { kind: 'upgraded', name: 'a', from: '1', to: '2' }) },
    ['APPROVAL every batch of this inbox waits: 2 upgraded'],
    rules(defaults, 'required'),
  ],
  [
    'a guard that rejects',
    { changes: changed('downgraded') },
    ['reject DOWNGRADE downgrades 1 package: , and 1 more'],
    rules(toGuards({ downgrade: 'reject' }, {})),
  ],
];

for (const [title, over, expected, applied = rules()] of table) {
  test(`${title}: ${expected.length === 0 ? 'nothing is found' : expected.join('; ')}`, () => {
    const found = guardFindings({ ...quiet, ...over }, applied);
    const shown = found.map(
      ({ action, reason }) => `${action === 'reject' ? 'reject ' : ''}${reason.code} ${reason.detail}`,
    );
    assert.deepEqual(shown, expected);
    for (const { reason } of found) assert.equal(reason.path, 'main/x86_64');
  });
}

const vanished = { repository: 'main/x86_64', file: 'APKINDEX.tar.gz', packages: 3, inScope: true };

test('a repository that vanished is held, rejected or allowed; where approval is required it is always asked about', () => {
  const codes = (applied: GuardRules): string[] =>
    vanishedFindings(vanished, applied).map((f) => `${f.action} ${f.reason.code}`);
  assert.deepEqual(codes(rules()), ['hold REPOSITORY_VANISHED']);
  assert.deepEqual(codes(rules(toGuards({ vanished_repository: 'reject' }, {}))), ['reject REPOSITORY_VANISHED']);
  assert.deepEqual(codes(rules(toGuards({ vanished_repository: 'allow' }, {}))), []);
  assert.deepEqual(codes(mayVanish), []);
  assert.deepEqual(codes(rules({ ...defaults, mayVanish: template('staging/{arch}') })), ['hold REPOSITORY_VANISHED']);
  assert.deepEqual(codes({ ...mayVanish, approval: 'required' }), ['hold REPOSITORY_VANISHED']);
});

test('the guards of an inbox come before those of all, and those before the defaults', () => {
  const guards = toGuards(
    { downgrade: 'allow', rebuilt: 'reject', max_removed: 7 },
    { rebuilt: 'allow', max_removed_percent: 5 },
  );
  assert.deepEqual(
    [
      guards.actions.downgrade,
      guards.actions.rebuilt,
      guards.actions.empty_index,
      guards.maxRemoved,
      guards.maxRemovedPercent,
    ],
    ['allow', 'allow', 'hold', 7, 5],
  );
});

const reason = { code: 'DOWNGRADE', path: 'main/x86_64', detail: 'downgrades a' } as const;
const other = { code: 'REBUILT', path: 'main/x86_64', detail: 'rebuilds b' } as const;
const held = (...reasons: (typeof reason | typeof other)[]): Parameters<typeof judge>[1] =>
  reasons.map((r) => ({ action: 'hold', reason: r }));
const decided = (over: Partial<Decision> = {}): Decision => ({
  decision: 'approved',
  who: 'alice',
  why: '',
  base: 4,
  reasons: [reason],
  ...over,
});

test('an approval covers what was shown, compared with the same index, and nothing else', () => {
  const kind = (findings: Parameters<typeof judge>[1], base: number | null, decision: Decision | null): string =>
    judge('main/x86_64', findings, base, decision).kind;
  assert.equal(kind([], 4, null), 'clear');
  assert.equal(kind(held(reason), 4, null), 'guarded');
  assert.equal(kind(held(reason), 4, decided()), 'clear');
  assert.equal(kind(held(reason), 5, decided()), 'guarded', 'another index is served now');
  assert.equal(kind(held(reason, other), 4, decided()), 'guarded', 'one reason more');
  assert.equal(kind(held(reason), 4, decided({ reasons: [{ ...reason, detail: 'downgrades a and b' }] })), 'guarded');
  assert.equal(kind([{ action: 'reject', reason }], 4, decided()), 'refused', 'what is rejected cannot be approved');
  assert.equal(kind([], 4, decided({ decision: 'rejected' })), 'refused');
});

test('what is asked about again shows every reason, so that one approval covers all of them', () => {
  const judged = judge('main/x86_64', held(reason, other), 4, decided());
  assert.deepEqual(judged, { kind: 'guarded', reasons: [reason, other] });
});

test('a rejection says by whom and why, then what was held', () => {
  const judged = judge('main/x86_64', held(reason), 9, decided({ decision: 'rejected', why: 'wrong branch' }));
  assert.deepEqual(judged, {
    kind: 'refused',
    reasons: [{ code: 'DOWNGRADE', path: 'main/x86_64', detail: 'rejected by alice: wrong branch' }, reason],
  });
});
