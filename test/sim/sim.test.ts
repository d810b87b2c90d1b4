import assert from 'node:assert/strict';
import test from 'node:test';
import { broken } from './broken.ts';
import { simulate } from './simulate.ts';

/** `SIM_SEED=N` plays the story of a seed that was printed again, in place of a new one. */
const drawn = Number(process.env.SIM_SEED ?? Math.floor(Math.random() * 2 ** 31));

for (const { seed, mirrors, days, name } of [
  { seed: 20_261_123, mirrors: 10, days: 30, name: 'a month of ten mirrors' },
  { seed: 2, mirrors: 10, days: 6, name: 'six days with a clock that is set back' },
  { seed: drawn, mirrors: 60, days: 4, name: `four days of sixty mirrors, seed ${drawn}` },
]) {
  test(name, async (t) => {
    const { violations, ...rest } = await simulate({ seed, mirrors, days });
    t.diagnostic(`npm run sim -- --seed ${seed} --mirrors ${mirrors} --days ${days}: ${JSON.stringify(rest)}`);
    assert.deepEqual(violations, []);
    assert.ok(
      rest.generations > days && rest.faults > mirrors / 4 && rest.tries > mirrors * days,
      'something happened',
    );
  });
}

for (const [name, { sabotage, by, days = 6 }] of Object.entries(broken)) {
  test(`teeth: ${name} is found out by "${by}"`, async (t) => {
    const { violations } = await simulate({ seed: 4, mirrors: 40, days, sabotage, untilFirst: true });
    t.diagnostic(violations[0]?.detail ?? 'no violation');
    assert.equal(violations[0]?.invariant, by);
  });
}

test('the same seed tells the same story', async () => {
  const [first, second] = [
    await simulate({ seed: 7, mirrors: 10, days: 2 }),
    await simulate({ seed: 7, mirrors: 10, days: 2 }),
  ];
  assert.deepEqual({ ...first, heapBytes: [] }, { ...second, heapBytes: [] });
});
