import assert from 'node:assert/strict';
import test from 'node:test';
import { parseTemplate } from '../../src/config/template.ts';
import { Arrivals } from '../../src/daemon/arrivals.ts';
import type { Store } from '../../src/store/store.ts';
import { mirrorFacts } from '../observe/facts.ts';

const minute = 60_000;

/** Generations 1, 2, 4 … come out at these minutes; number 3 was never published. `changed`: the repository that each changed. */
function world({ confirmed = 0, changed = {} }: { confirmed?: number | null; changed?: Record<number, string> } = {}) {
  const published = new Map<number, number>();
  const counted: string[] = [];
  const store = {
    generations: {
      current: () => ({ number: Math.max(0, ...published.keys()) }),
      publishedAt: (g: number) => [...published].find(([number]) => number >= g)?.[1] ?? null,
      isOnRecord: (g: number) => published.has(g),
    },
    mirrors: {
      get: () => ({ confirmed }),
      changedAfter: (_: number, g: number) => [{ repository: changed[g] ?? 'main/x86_64', generation: g }],
    },
  } as unknown as Store;
  const arrivals = new Arrivals(store, { arrived: (mirror, outcome) => counted.push(`${mirror} ${outcome}`) });
  const look = (atMinute: number, facts: Parameters<typeof mirrorFacts>[0]): void =>
    arrivals.look({ mirrors: [mirrorFacts(facts)] }, atMinute * minute);
  const publish = (generation: number, atMinute: number): void => void published.set(generation, atMinute * minute);
  return { arrivals, counted, look, publish };
}
const whole = { include: [], exclude: [] };

test('each generation counts once: when it comes in time, or when it is late, or excused', () => {
  const { arrivals, counted, look, publish } = world();
  arrivals.open('paris', whole, 0);
  publish(1, 0);
  arrivals.confirmed('paris', 1, minute);
  look(2, { generation: 1 });
  assert.deepEqual(counted.splice(0), ['paris in_time']);
  publish(2, 10);
  publish(4, 12);
  look(25, { generation: 1, state: 'behind' });
  assert.deepEqual(counted.splice(0), [], 'both may still come');
  look(26, { generation: 1, state: 'behind' });
  assert.deepEqual(counted.splice(0), ['paris late'], 'it need not come to be late');
  arrivals.confirmed('paris', 4, 26.5 * minute);
  look(90, { generation: 4 });
  assert.deepEqual(counted.splice(0), ['paris in_time'], 'number 3 is nothing, and 2 is not counted again');
  publish(5, 100);
  look(110, { generation: 4, breaker: 'open' });
  look(114, { generation: 4 });
  arrivals.confirmed('paris', 5, 120 * minute);
  assert.deepEqual(counted.splice(0), ['paris excused']);
});

test('a start counts neither what was held nor what was late before it', () => {
  const { arrivals, counted, look, publish } = world({ confirmed: 2 });
  publish(1, 0);
  publish(2, 50);
  publish(4, 55);
  publish(5, 58);
  arrivals.open('paris', whole, 60 * minute);
  look(80, { generation: 2, state: 'behind' });
  assert.deepEqual(counted, ['paris late', 'paris late'], '4 and 5 were still open; 2 was held');
  const late = world({ confirmed: null });
  late.publish(1, 0);
  late.publish(2, 10);
  late.arrivals.open('paris', whole, 60 * minute);
  late.look(60, { generation: null });
  assert.deepEqual(late.counted, [], 'whoever ran then has counted them');
});

test('a generation that changed nothing of the part that a mirror takes does not count, nor does a mirror that pulls', () => {
  const { arrivals, counted, look, publish } = world({ changed: { 1: 'extra/x86_64' } });
  const parsed = parseTemplate('main/{arch}');
  assert.ok('value' in parsed);
  const main = parsed.value;
  arrivals.open('paris', { include: [main], exclude: [] }, 0);
  publish(1, 0);
  publish(2, 1);
  look(2, { generation: 2 });
  look(2, { generation: 2, name: 'quito' });
  assert.deepEqual(counted, ['paris in_time']);
});
