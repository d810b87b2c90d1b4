import assert from 'node:assert/strict';
import test from 'node:test';
import { play } from './play.ts';

/** `SIM_SEED=N` plays another month; `npm run sim` draws new ones. */
const seed = Number(process.env.SIM_SEED ?? 1003);
const [mirrors, days] = [500, 30];

test(`a month of five hundred mirrors, seed ${seed}`, async (t) => {
  const startedAt = performance.now();
  const { violations, ...rest } = await play({ seed, mirrors, days });
  const seconds = Math.round((performance.now() - startedAt) / 1000);
  t.diagnostic(
    `npm run sim -- --seed ${seed} --mirrors ${mirrors} --days ${days}: ${JSON.stringify(rest)}, ${seconds} s`,
  );
  assert.deepEqual(violations, []);
  // What makes it a month of a fleet: everybody was pushed to again and again, and most of them broke.
  assert.ok(rest.generations > 100 && rest.faults > mirrors && rest.restarts > 0 && rest.tries > mirrors * days);
});
