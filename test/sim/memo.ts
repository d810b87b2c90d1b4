/** The real store, whose answers are remembered until something is written: five hundred mirrors ask the same of each generation. */
import type { Expiry, GenerationStore } from '../../src/store/generations.ts';
import type { MirrorRow, MirrorStore } from '../../src/store/mirrors.ts';
import type { Store } from '../../src/store/store.ts';

/** To be called after each publish, with the time that it bears: what left then left at that time. */
export type Forget = (publishedAtMs: number) => void;

/** Their answers follow from what is asked and from what was published. */
const byGeneration = [
  'current',
  'indexesAt',
  'indexesLeft',
  'packagesForMirror',
  'publishedAtExactly',
  'rangeOf',
  'firstGenerationOf',
  'pruneLimit',
] as const;
/** More is not kept: an answer that is wanted again is found again. */
const most = 2000;

export function remembering(store: Store): { readonly store: Store; readonly forget: Forget } {
  const answers = new Map<string, unknown>();
  const rows = new Map<string, MirrorRow>();
  let newestRecall: number | null = null;
  const generations = Object.create(null) as Record<string, unknown>;
  for (const name of methodsOf(store.generations)) {
    const ask = bound(store.generations, name);
    const isKept = (byGeneration as readonly string[]).includes(name);
    generations[name] = isKept
      ? (...given: unknown[]) =>
          remembered(given.length === 0 ? name : `${name} ${JSON.stringify(given)}`, () => ask(...given))
      : ask;
  }
  const remembered = (key: string, ask: () => unknown): unknown => {
    const known = answers.get(key);
    if (known !== undefined) return known;
    if (answers.size >= most) answers.clear();
    const found = ask();
    const answer = isGenerator(found) ? [...found] : found;
    answers.set(key, answer);
    return answer;
  };
  // What left did so at one of these times, in order: windows that hold the same of them have the same answer.
  const times: number[] = [];
  generations.expired = (expiry: Expiry, after: number) => {
    const [from, to] = [countUntil(times, expiry.sinceMs), countUntil(times, expiry.untilMs)];
    if (from === to) return { paths: [], next: null };
    return remembered(`expired ${from} ${to} ${expiry.at} ${after}`, () => store.generations.expired(expiry, after));
  };
  const mirrors = Object.create(null) as Record<string, unknown>;
  for (const name of methodsOf(store.mirrors)) {
    const ask = bound(store.mirrors, name);
    mirrors[name] = (mirror: string, ...given: unknown[]) => {
      rows.delete(mirror);
      return ask(mirror, ...given);
    };
  }
  mirrors.get = (mirror: string): MirrorRow => {
    const row = rows.get(mirror) ?? store.mirrors.get(mirror);
    rows.set(mirror, row);
    return row;
  };
  const recalls = { ...methods(store.recalls), newest: () => (newestRecall ??= store.recalls.newest()) };
  // Nothing is damaged in these stories.
  const withheld = (): unknown => remembered('withheld', () => store.damage.withheld());
  const damage = { ...methods(store.damage), withheld };
  const forget = (publishedAtMs: number): void => {
    times.splice(countUntil(times, publishedAtMs), 0, publishedAtMs);
    answers.clear();
    // A publish may change each of them, and who was woken by it asks for its own.
    for (const [mirror, row] of store.mirrors.all()) rows.set(mirror, row);
    newestRecall = null;
  };
  const kept = {
    generations: generations as unknown as GenerationStore,
    mirrors: mirrors as unknown as MirrorStore,
    recalls: recalls as unknown as Store['recalls'],
    damage: damage as unknown as Store['damage'],
  };
  return { store: { ...store, ...kept }, forget };
}

/** How many of `times`, which are in order, are not after `limitMs`. */
function countUntil(times: readonly number[], limitMs: number): number {
  let [from, to] = [0, times.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if ((times[middle] as number) <= limitMs) from = middle + 1;
    else to = middle;
  }
  return from;
}

function methods(from: object): Record<string, (...given: unknown[]) => unknown> {
  return Object.fromEntries(methodsOf(from).map((name) => [name, bound(from, name)]));
}

function methodsOf(from: object): string[] {
  return Object.getOwnPropertyNames(Object.getPrototypeOf(from)).filter((name) => name !== 'constructor');
}

function bound(from: object, name: string): (...given: unknown[]) => unknown {
  const method = Reflect.get(from, name) as (...given: unknown[]) => unknown;
  return (...given) => Reflect.apply(method, from, given);
}

function isGenerator(answer: unknown): answer is Iterable<unknown> {
  return Object.prototype.toString.call(answer) === '[object Generator]';
}
