/** `npm run sim -- --seed N --mirrors 500 --days 30`: plays the life of a fleet and prints what came of it; exit code 1 after a violation. */
import { parseArgs } from 'node:util';
import { broken } from './broken.ts';
import { simulate } from './simulate.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    mirrors: { type: 'string', default: '500' },
    days: { type: 'string', default: '30' },
    broken: { type: 'string' },
  },
});
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31));
const [mirrors, days] = [Number(values.mirrors), Number(values.days)];
const sabotage = values.broken === undefined ? undefined : broken[values.broken]?.sabotage;
if (values.broken !== undefined && !sabotage) throw new Error(`expected one of: ${Object.keys(broken).join(', ')}`);

console.log(`seed ${seed}: ${mirrors} mirrors, ${days} days`);
const startedAt = performance.now();
const { violations, ...rest } = await simulate({ seed, mirrors, days, ...(sabotage && { sabotage }) });
console.log(`${((performance.now() - startedAt) / 1000).toFixed(1)} s:`, rest);
for (const { invariant, detail } of violations) console.log(`VIOLATION ${invariant}: ${detail}`);
process.exitCode = violations.length > 0 ? 1 : 0;
