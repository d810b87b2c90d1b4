import assert from 'node:assert/strict';
import test from 'node:test';
import type { MirrorConfig } from '../../src/config/mirror-schema.ts';
import { gatherFacts } from '../../src/daemon/facts.ts';
import type { MirrorFacts } from '../../src/observe/status.ts';
import { neverScrubbed } from '../../src/observe/scrub.ts';
import type { MirrorRow } from '../../src/store/mirrors.ts';
import type { Store } from '../../src/store/store.ts';

const day = 86_400_000;
const config: MirrorConfig = {
  name: 'paris',
  url: 'https://paris.example.org/',
  transport: { type: 'directory', path: '/mnt' },
  takeoverAfterMs: null,
  part: { include: [], exclude: [] },
  bytesPerSecond: null,
  quiet: [],
};
const state = { phase: 'behind', lastFailure: null } as never;
const worker = { state, nextAttemptAtMs: null };

/** Of a mirror that the daemon has known since day 300; generation N came out on day N. */
function factsOf(row: Partial<MirrorRow>, newest = 310): MirrorFacts {
  const whole = {
    confirmed: null,
    serves: null,
    observed: null,
    observedAtMs: null,
    unknownContent: false,
    lastSuccessAtMs: null,
    takenOverAtMs: null,
    staged: null,
    ...row,
  };
  const publishedAt = (generation: number): number => generation * day;
  const store = {
    generations: {
      current: () => ({ number: newest, publishedAtMs: publishedAt(newest) }),
      indexesAt: () => [],
      publishedAt,
    },
    mirrors: { get: () => whole },
    batches: { recent: () => [] },
    writeProblem: () => null,
  } as unknown as Store;
  const [mirror] = gatherFacts(store, {
    mirrors: [{ config, worker, sinceMs: 300 * day }],
    keys: { stateOf: () => 'valid', problems: () => [] },
    scrub: { ...neverScrubbed, damaged: [] },
    announcements: [],
    upstreams: new Map(),
    nowMs: 311 * day,
  }).mirrors;
  assert.ok(mirror);
  return mirror;
}

const days = ({ pushedMissingSinceMs: pushed, observedMissingSinceMs: observed }: MirrorFacts) =>
  [pushed, observed].map((ms) => (ms === null ? null : ms / day));

test('a new mirror is not behind since before there was such a mirror', () => {
  assert.deepEqual(days(factsOf({})), [300, null]);
  assert.deepEqual(days(factsOf({ observed: 0, observedAtMs: 1 })), [300, 300]);
  assert.deepEqual(days(factsOf({ observed: 200, observedAtMs: 1 })), [1, 201], 'what is there came before us');
  assert.deepEqual(days(factsOf({ confirmed: 200, serves: 200, observed: 200, observedAtMs: 1 })), [201, 201]);
});

test('a mirror that is compared anew is as far behind as what it served last', () => {
  const compared = factsOf({ serves: 308, observed: 310, observedAtMs: 1 });
  assert.deepEqual([compared.generation, ...days(compared)], [null, 309, null]);
  assert.deepEqual(days(factsOf({ serves: 310 })), [null, null]);
  assert.deepEqual(days(factsOf({ serves: 310, observed: 0, observedAtMs: 1 })), [null, 1], 'it was wiped');
});
