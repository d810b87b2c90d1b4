import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { chooseTree, isTreeName, nextMtimeSeconds, type TreeFacts } from '../../src/publish/generation.ts';

const options = { nowMs: 1000, keepTreesForMs: 100, maxTrees: 3 };
const tree = (name: string, facts: Partial<TreeFacts> = {}): TreeFacts => ({
  name,
  generation: 1,
  leftAtMs: 0,
  leased: false,
  ...facts,
});

test('the first tree is a, the next one b', () => {
  assert.deepEqual(chooseTree([], null, options), { name: 'a', generation: 0, free: false });
  assert.equal(chooseTree([tree('a', { leftAtMs: null })], 'a', options).name, 'b');
});

test('a spare tree comes first, the one that lacks least', () => {
  const trees = [
    tree('a', { leftAtMs: null, generation: 9 }),
    tree('b', { leftAtMs: null, generation: 2 }),
    tree('c', { leftAtMs: null, generation: 5 }),
    tree('d', { leftAtMs: 0, generation: 8 }),
  ];
  assert.deepEqual(chooseTree(trees, 'a', options), { name: 'c', generation: 5, free: true });
});

test('then the tree that was left longest ago, once its time has come', () => {
  const trees = [tree('a', { leftAtMs: null }), tree('b', { leftAtMs: 900 }), tree('c', { leftAtMs: 899 })];
  assert.equal(chooseTree(trees, 'a', options).name, 'c');
  assert.equal(chooseTree([tree('a'), tree('b', { leftAtMs: 901 })], 'a', options).name, 'c', 'a new one meanwhile');
});

test('at the limit the oldest is taken early, but never one that is read', () => {
  const trees = [tree('a', { leftAtMs: null }), tree('b', { leftAtMs: 950 }), tree('c', { leftAtMs: 960 })];
  assert.deepEqual(chooseTree(trees, 'a', options), { name: 'b', generation: 1, free: false });
  const leased = trees.map((t) => ({ ...t, leased: t.name !== 'a' }));
  assert.equal(chooseTree(leased, 'a', options).name, 'd');
});

const anyTrees = fc.uniqueArray(
  fc.record({
    name: fc.constantFrom('a', 'b', 'c', 'd', 't27'),
    generation: fc.nat(5),
    leftAtMs: fc.option(fc.nat(2000)),
    leased: fc.boolean(),
  }),
  { selector: (t) => t.name },
);

test('what is served or read is never chosen, a new name is a tree name, and there are too many only because of readers', () => {
  fc.assert(
    fc.property(anyTrees, fc.nat(4), fc.integer({ min: 2, max: 4 }), (trees, which, maxTrees) => {
      const current = trees[which]?.name ?? null;
      const choice = chooseTree(trees, current, { ...options, maxTrees });
      const known = trees.find((t) => t.name === choice.name);
      assert.notEqual(choice.name, current);
      assert.ok(isTreeName(choice.name));
      assert.equal(choice.generation, known?.generation ?? 0);
      assert.ok(!known?.leased);
      if (!known && trees.length >= maxTrees) assert.ok(trees.every((t) => t.leased || t.name === current));
    }),
  );
});

test('the time of a file is whole seconds and always later than that of the one it replaces', () => {
  fc.assert(
    fc.property(fc.nat(), fc.option(fc.nat()), (nowMs, previous) => {
      const next = nextMtimeSeconds(nowMs, previous);
      assert.ok(Number.isInteger(next) && next >= Math.floor(nowMs / 1000));
      assert.ok(previous === null || next > previous);
    }),
  );
});
