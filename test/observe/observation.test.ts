import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { observedGeneration, type RepositoryObservation, type ServedIndex } from '../../src/observe/observation.ts';

const seen = (served: ServedIndex, firstGeneration = 1): RepositoryObservation => ({
  path: 'r',
  served,
  firstGeneration,
});

test('a mirror is as new as its oldest index', () => {
  assert.deepEqual(observedGeneration([seen({ lastGeneration: 7 }), seen({ lastGeneration: null })], 12), {
    generation: 7,
    unknownContent: false,
  });
  assert.equal(observedGeneration([seen({ lastGeneration: null })], 12).generation, 12);
});

test('an index that lacks counts as just before the repository appeared', () => {
  assert.equal(observedGeneration([seen({ lastGeneration: null }), seen('absent', 5)], 12).generation, 4);
  assert.equal(observedGeneration([seen('absent')], 12).generation, 0);
});

test('nothing seen and nothing known is no generation', () => {
  assert.deepEqual(observedGeneration([], 12), { generation: null, unknownContent: false });
  assert.deepEqual(observedGeneration([seen('unknown')], 12), { generation: null, unknownContent: true });
});

/** A history of some repositories: for each the generations in which its index changed, the first one being its birth. */
const history = fc.integer({ min: 1, max: 12 }).chain((newest) =>
  fc.record({
    newest: fc.constant(newest),
    changes: fc.array(
      fc
        .uniqueArray(fc.integer({ min: 1, max: newest }), { minLength: 1, maxLength: 6 })
        .map((list) => list.toSorted((a, b) => a - b)),
      { minLength: 1, maxLength: 5 },
    ),
  }),
);

/** The index of a repository at a generation as a probe would see it. */
function at(changes: readonly number[], generation: number): RepositoryObservation {
  const firstGeneration = changes[0] ?? 1;
  if (generation < firstGeneration) return seen('absent', firstGeneration);
  const next = changes.find((g) => g > generation);
  return seen({ lastGeneration: next === undefined ? null : next - 1 }, firstGeneration);
}

test('for every history and mixture: the newest generation that is nowhere newer than what is served', () => {
  fc.assert(
    fc.property(history, fc.array(fc.nat(12), { minLength: 5, maxLength: 5 }), ({ newest, changes }, picks) => {
      const held = changes.map((_, i) => (picks[i] ?? 0) % (newest + 1));
      const indexAt = (list: readonly number[], g: number): number => list.filter((c) => c <= g).length;
      // By brute force: is each index, as served, at least as new as the one that g publishes?
      const fits = (g: number): boolean => changes.every((list, i) => indexAt(list, held[i] ?? 0) >= indexAt(list, g));
      const expected = Array.from({ length: newest + 1 }, (_, g) => g).findLast(fits);
      const result = observedGeneration(
        changes.map((list, i) => at(list, held[i] ?? 0)),
        newest,
      );
      assert.deepEqual(result, { generation: expected, unknownContent: false });
    }),
  );
});

test('a mirror that holds one whole generation is seen at that one or at a later one with the same indexes', () => {
  fc.assert(
    fc.property(history, fc.nat(12), ({ newest, changes }, pick) => {
      const generation = pick % (newest + 1);
      const result =
        observedGeneration(
          changes.map((list) => at(list, generation)),
          newest,
        ).generation ?? -1;
      assert.ok(result >= generation && result <= newest);
      assert.ok(changes.every((list) => !list.some((c) => c > generation && c <= result)));
    }),
  );
});

test('unknown content flags and never raises', () => {
  fc.assert(
    fc.property(history, fc.nat(12), fc.nat(4), ({ newest, changes }, pick, index) => {
      const whole = changes.map((list) => at(list, pick % (newest + 1)));
      const tampered = whole.map((r, i) => (i === index % whole.length ? { ...r, served: 'unknown' as const } : r));
      const current = whole.map((r, i) =>
        i === index % whole.length ? { ...r, served: { lastGeneration: null } } : r,
      );
      const result = observedGeneration(tampered, newest);
      assert.equal(result.unknownContent, true);
      assert.ok((result.generation ?? -1) <= (observedGeneration(current, newest).generation ?? -1));
    }),
  );
});
