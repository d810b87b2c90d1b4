/**
 * `npm run soak [-- --minutes N]`: clients against batches, prunes and SIGKILL on a primary and four mirrors. The daemon is killed
 * every 20 s in the first two thirds; in the last it lives on, so that a leak would show. Exit code 1 when a bar is missed.
 */
import { loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { unitEnvironment } from '../support/unit.ts';
import { soak, type SoakReport } from './readers.ts';
import { flatWithin, type Growth, grows, judgeVitals } from './vitals.ts';

const enoughReads = 100_000;
const mirrors = 4;
/** Seconds after its start at which one life of the daemon is compared with another. */
const age = 14;

const { values: settings } = parseArgs({ options: { minutes: { type: 'string', default: '30' } } });
const seconds = Number(settings.minutes) * 60;
const report = await soak({
  seconds,
  quietSeconds: seconds / 3,
  batchEveryMs: 3000,
  killEveryMs: 20_000,
  graceSeconds: 20,
  env: unitEnvironment,
});
print(report);

function print({ reads, torn, backwards, batches, kills, pruned, lost, missing, samples, state }: SoakReport): void {
  const total = Object.values(reads).reduce((sum, one) => sum + one, 0);
  const each = Object.entries(reads).map(([name, n]) => `${name} ${n}`);
  console.log(
    `${settings.minutes} minutes, load ${loadavg()
      .map((one) => one.toFixed(1))
      .join(' ')}`,
  );
  console.log(`${total} reads (${each.join(', ')}): ${torn.length} torn, ${backwards.length} went back`);
  console.log(
    `${batches} batches, ${kills} kills, ${pruned} packages pruned; last batch lacks at: ${lost.join(' ') || 'none'}`,
  );
  for (const one of [...torn, ...backwards].slice(0, 20)) console.log(`  ${one}`);
  const growths = [...judgeVitals(samples, kills, age), ...stateGrowth(state)];
  for (const growth of growths) console.log(text(growth));
  const missed = [
    ...(torn.length > 0 ? ['torn reads'] : []),
    ...(backwards.length > 0 || lost.length > 0 ? ['lost batches'] : []),
    ...(total < enoughReads ? [`fewer than ${enoughReads} reads`] : []),
    ...(Object.keys(reads).length <= mirrors ? [`fewer than ${mirrors} mirrors: ${missing} is not installed`] : []),
    ...growths.filter(grows).map(({ what }) => what),
  ];
  console.log(missed.length === 0 ? 'every bar was held' : `MISSED: ${missed.join('; ')}`);
  if (missed.length > 0) process.exitCode = 1;
}

/** A generation adds its rows for ever, but it must not add more than the ones before it. */
function stateGrowth(state: SoakReport['state']): Growth[] {
  const [first, second, last] = state;
  if (!first || !second || !last) return [];
  const each = (a: typeof first, b: typeof first): number => (b.pages - a.pages) / (b.generations - a.generations);
  const what = `pages of state.db per generation (${last.pages} for ${last.generations}), second third against the last`;
  return [{ what, early: each(first, second), late: each(second, last) }];
}

function text(growth: Growth): string {
  const { what, early, late } = growth;
  const percent = ((late / early - 1) * 100).toFixed(1);
  return `${what}: ${early.toFixed(2)} and ${late.toFixed(2)} (${percent} %)${grows(growth) ? `, more than ${flatWithin * 100} %` : ''}`;
}
