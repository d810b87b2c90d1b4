import assert from 'node:assert/strict';
import test from 'node:test';
import { grows, judgeVitals, type Sample } from './vitals.ts';

/** Nine short lives of 20 s and one long one of 100 s, sampled every second. */
function samplesOf(rssKiB: (life: number, age: number) => number): Sample[] {
  return Array.from({ length: 10 }, (_, life) =>
    Array.from({ length: life === 9 ? 100 : 20 }, (_one, age) => {
      return { life, ageSeconds: age, openFiles: 40, rssKiB: rssKiB(life, age) };
    }),
  ).flat();
}
const growing = (samples: readonly Sample[]): string[] =>
  judgeVitals(samples, 9, 14)
    .filter(grows)
    .map(({ what }) => what);

test('a daemon that is the same in every life and at every age is flat, however it starts', () => {
  assert.equal(
    judgeVitals(
      samplesOf(() => 100),
      9,
      14,
    ).length,
    4,
  );
  assert.deepEqual(growing(samplesOf((_life, age) => (age < 10 ? 50 : 100))), []);
});

test('what costs more from life to life grows', () => {
  assert.deepEqual(growing(samplesOf((life) => 100 + 3 * life)), [
    'RSS, KiB, at the age of 14 s, first 3 lives against the last 3',
  ]);
});

test('what leaks in one life grows', () => {
  assert.deepEqual(growing(samplesOf((life, age) => (life === 9 ? 100 + age : 100))), [
    'RSS, KiB, in one long life, first quarter against the last',
  ]);
});
