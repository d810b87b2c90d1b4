import assert from 'node:assert/strict';
import test from 'node:test';
import { broken } from './broken.ts';
import { play } from './play.ts';

/** One that broke a rule once. `SIM_SEED=N` plays another; `npm run sim` draws new ones. */
const sixty = Number(process.env.SIM_SEED ?? 1003);

for (const { seed, mirrors, days, name } of [
  { seed: 20_261_123, mirrors: 10, days: 30, name: 'a month of ten mirrors' },
  { seed: 2, mirrors: 10, days: 6, name: 'six days with a clock that is set back' },
  { seed: sixty, mirrors: 60, days: 4, name: `four days of sixty mirrors, seed ${sixty}` },
]) {
  test(name, async (t) => {
    const { violations, ...rest } = await play({ seed, mirrors, days });
    t.diagnostic(`npm run sim -- --seed ${seed} --mirrors ${mirrors} --days ${days}: ${JSON.stringify(rest)}`);
    assert.deepEqual(violations, []);
    assert.ok(
      rest.generations > days && rest.faults > mirrors / 4 && rest.tries > mirrors * days,
      'something happened',
    );
  });
}

for (const [name, { by, days = 6 }] of Object.entries(broken)) {
  test(`teeth: ${name} is found out by "${by}"`, async (t) => {
    const { violations } = await play({ seed: 4, mirrors: 40, days, broken: name, untilFirst: true });
    t.diagnostic(violations[0]?.detail ?? 'no violation');
    assert.equal(violations[0]?.invariant, by);
  });
}

test('the same seed tells the same story', async () => {
  const [first, second] = [
    await play({ seed: 7, mirrors: 10, days: 2 }),
    await play({ seed: 7, mirrors: 10, days: 2 }),
  ];
  assert.deepEqual({ ...first, heapBytes: [] }, { ...second, heapBytes: [] });
});
