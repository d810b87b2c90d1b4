/** What happens to mirrors from outside: each has a temper, and now and then something hits many at once. */
import { parseQuiet } from '../../src/config/quiet.ts';
import type { Dice } from './dice.ts';
import type { FaultName, Kind, MirrorTraits } from './far-mirror.ts';

export const minuteMs = 60_000;
export const hourMs = 60 * minuteMs;
export const dayMs = 24 * hourMs;

interface Spell {
  readonly fault: FaultName | 'wiped' | 'restored';
  readonly lastsMs: number;
}

/** How often each happens among the others, and how long it lasts. */
const spells: readonly [fault: Spell['fault'], weight: number, fromMs: number, toMs: number][] = [
  ['down', 8, 30_000, 8 * hourMs],
  ['dns', 3, minuteMs, hourMs],
  ['black hole', 5, minuteMs, 3 * hourMs],
  ['flaky', 6, minuteMs, 2 * hourMs],
  ['slow', 4, 10 * minuteMs, 4 * hourMs],
  ['disk full', 3, 10 * minuteMs, 12 * hourMs],
  ['read-only', 1, hourMs, 8 * hourMs],
  ['busy', 4, minuteMs, hourMs],
  ['auth', 1, 6 * hourMs, 3 * dayMs],
  ['host key', 1, 6 * hourMs, 3 * dayMs],
  ['blocked by hand', 1, hourMs, dayMs],
  ['wiped', 1, 0, 0],
  ['restored', 1, 0, 0],
];

const burstFaults = ['down', 'black hole', 'dns', 'flaky'] as const;

export function traitsOf(n: number, dice: Dice): MirrorTraits {
  const kind: Kind = dice.pick(['sftp', 'sftp', 'rsync', 'rsync', 'directory', 'blind']);
  const slow = dice.chance(0.1);
  const from = dice.whole(0, 23);
  const written = `${two(from)}:00-${two((from + dice.whole(1, 6)) % 24)}:30`;
  const quiet = dice.chance(0.15) ? parseQuiet(written) : null;
  const part = dice.chance(0.2);
  return {
    name: `m${n}`,
    kind,
    rttMs: Math.round(2 ** dice.between(0, 8)),
    bytesPerSecond: (slow ? 0.3 : 2 ** dice.between(1, 5)) * 1024 * 1024,
    limit: dice.chance(0.1) ? 1024 * 1024 : null,
    takes: (repository) => !part || repository.endsWith('/x86_64'),
    quiet: quiet && 'value' in quiet ? [quiet.value] : [],
  };
}

/** Time between two faults of one mirror, on the average. */
export function temperOf(dice: Dice): number {
  return dice.pick([20, 20, 20, 20, 5, 5, 5, 1, 1, 0.2]) * dayMs;
}

export function nextSpell(dice: Dice): Spell {
  const total = spells.reduce((sum, [, weight]) => sum + weight, 0);
  let left = dice.between(0, total);
  const [fault, , fromMs, toMs] = spells.find(([, weight]) => (left -= weight) < 0) ?? ['down', 1, minuteMs, hourMs];
  return { fault, lastsMs: fromMs * (toMs / Math.max(1, fromMs)) ** dice.next() };
}

/** Something that hits many mirrors at once: a cable, a name server. */
export function nextBurst(dice: Dice): { readonly fault: FaultName; readonly share: number; readonly lastsMs: number } {
  return {
    fault: dice.pick(burstFaults),
    share: dice.between(0.1, 1),
    lastsMs: dice.between(2 * minuteMs, 4 * hourMs),
  };
}

function two(n: number): string {
  return String(n).padStart(2, '0');
}
