import assert from 'node:assert/strict';
import test from 'node:test';
import type { Standing } from '../../src/replicate/fellow.ts';
import { type FenceFacts, judge } from '../../src/replicate/fence.ts';
import type { Trace } from '../../src/store/trace.ts';

/** History: index `a` was published by generations 1 to 3, `b` is current since 4. */
const history: FenceFacts = {
  primary: 'one',
  generation: 5,
  publishedAtMs: 5000,
  serves: 4,
  confirmed: 4,
  strange: false,
  publishedAtOf: (generation) => (generation <= 5 ? generation * 1000 : null),
  lastOf: (_path, sha256) => (sha256 === 'a' ? 3 : sha256 === 'b' ? null : undefined),
};

function trace(sha256: string, more: Partial<Trace> = {}): Trace {
  const indexes = new Map([['main/x86_64/APKINDEX.tar.gz', sha256]]);
  return { generation: 4, primary: 'one', publishedAtMs: 4000, indexes, ...more };
}
const index = (sha256: string): ReadonlyMap<string, string> => new Map([['main/x86_64/APKINDEX.tar.gz', sha256]]);

const rows: readonly [
  what: string,
  trace: Trace | null,
  indexes: ReadonlyMap<string, string> | null,
  Partial<FenceFacts>,
  string,
][] = [
  ['what we brought', trace('b'), null, {}, 'go'],
  ['a first contact that nobody marked', null, null, { serves: null, confirmed: null }, 'go'],
  ['a first contact, with unknown indexes', null, index('x'), { serves: null, confirmed: null, strange: true }, 'go'],
  ['a first contact with our own older trace', trace('a'), null, { serves: null, confirmed: null }, 'go'],
  [
    'a first contact with a newer trace of another',
    trace('x', { primary: 'two', publishedAtMs: 9000 }),
    null,
    { serves: null, confirmed: null },
    'ahead',
  ],
  ['a newer trace of another', trace('x', { primary: 'two', publishedAtMs: 9000 }), null, {}, 'ahead'],
  ['an older trace of another', trace('x', { primary: 'two', publishedAtMs: 3000 }), null, {}, 'unknown'],
  ['a newer trace of nobody', trace('x', { primary: null, publishedAtMs: 9000 }), null, {}, 'unknown'],
  ['our own future: the state was set back', trace('x', { generation: 9 }), null, {}, 'ahead'],
  ['our own number with other content', trace('x', { generation: 5 }), null, {}, 'unknown'],
  ['a trace that is gone', null, null, {}, 'drifted'],
  ['a trace that went back', trace('a', { generation: 2 }), null, {}, 'drifted'],
  ['a doubt', trace('b'), null, { confirmed: null }, 'look'],
  ['a wiped mirror', null, new Map(), { confirmed: null }, 'go'],
  ['an edited index behind our trace', trace('b'), index('x'), { confirmed: null }, 'unknown'],
  ['an older index behind our trace', trace('b'), index('a'), { confirmed: null }, 'go'],
  ['what a probe found strange', trace('b'), null, { strange: true }, 'look'],
];

for (const [what, found, indexes, facts, verdict] of rows) {
  test(`${what}: ${verdict}`, () => {
    assert.equal(judge({ trace: found, indexes }, { ...history, ...facts }).verdict, verdict);
  });
}

const path = 'main/x86_64/APKINDEX.tar.gz';
const foreign = trace('x', { primary: 'two', publishedAtMs: 3000 });
const vouched = { ...history, vouches: true };
const standing = (found: Standing, of: Trace | null = foreign): string =>
  judge({ trace: of, indexes: index('x'), standings: new Map([[path, found]]) }, vouched).verdict;

test('what another primary brought is looked at, and what trusted keys say of it counts, not its trace', () => {
  assert.deepEqual(judge({ trace: foreign, indexes: null }, vouched), { verdict: 'look', foreign: true });
  assert.equal(standing('newer'), 'ahead');
  assert.equal(standing('older'), 'go');
  assert.equal(standing('untrusted'), 'unknown');
});

test('where signatures tell no time, the later publication counts; behind our own trace nothing undated is replaced', () => {
  assert.equal(standing('undated'), 'go');
  assert.equal(standing('undated', trace('x', { primary: 'two', publishedAtMs: 9000 })), 'ahead');
  const { verdict } = judge(
    { trace: trace('b'), indexes: index('x'), standings: new Map([[path, 'undated']]) },
    { ...vouched, confirmed: null },
  );
  assert.equal(verdict, 'ahead');
});

test('a mirror is looked at when a probe saw something newer by a trusted key', () => {
  assert.equal(judge({ trace: trace('b'), indexes: null }, { ...vouched, newer: true }).verdict, 'look');
});

test('another primary of our name is told from us by when its generations came out, and judged as any other', () => {
  const namesake = trace('x', { publishedAtMs: 9000 });
  assert.deepEqual(judge({ trace: namesake, indexes: null }, vouched), { verdict: 'look', foreign: true });
  assert.equal(standing('newer', namesake), 'ahead');
  assert.equal(standing('older', namesake), 'go');
  const told = judge({ trace: namesake, indexes: null }, history);
  assert.equal(told.verdict, 'ahead');
  assert.match('detail' in told ? told.detail : '', /another primary has our name: give each its own publish.primary/);
  assert.equal(judge({ trace: trace('b', { publishedAtMs: 4999 }), indexes: null }, vouched).verdict, 'go', 'our own');
});
