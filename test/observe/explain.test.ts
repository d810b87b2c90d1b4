import assert from 'node:assert/strict';
import test from 'node:test';
import {
  type BatchStory,
  type Explanation,
  type FileStory,
  mirrorStory,
  type Served,
  whyBehind,
} from '../../src/observe/explain.ts';
import { renderExplanationText } from '../../src/observe/explain-text.ts';
import { type MirrorFacts, type MirrorStatus, statusView } from '../../src/observe/status.ts';
import { hostile, mirrorFacts, nowMs, statusFacts } from './facts.ts';

function statusOf(changes: Partial<MirrorFacts> = {}): MirrorStatus {
  const [mirror] = statusView(statusFacts({ mirrors: [mirrorFacts(changes)] }), nowMs).mirrors;
  assert.ok(mirror);
  return mirror;
}

const times = [
  { mirror: 'paris', generation: 10, confirmedAtMs: nowMs - 60_000, observedAtMs: nowMs - 50_000 },
  { mirror: 'paris', generation: 12, confirmedAtMs: nowMs - 40_000, observedAtMs: nowMs - 30_000 },
];

function on(changes: Partial<MirrorFacts>, served: Partial<Served>, recalled = 0): ReturnType<typeof mirrorStory> {
  const sight = { mirror: statusOf(changes), takes: true, reached: times, firstOnRecord: 5, recalled };
  return mirrorStory(sight, { added: 10, removed: null, recall: null, ...served });
}

const at = (secondsAgo: number): string => new Date(nowMs - secondsAgo * 1000).toISOString().replace('.000', '');

test('a mirror has what it was confirmed to hold, since it first was', () => {
  assert.deepEqual(on({}, {}), {
    name: 'paris',
    state: 'there',
    confirmed_at: at(60),
    observed_at: at(50),
    left_at: null,
    why: null,
  });
  assert.equal(on({}, { added: 11 }).confirmed_at, at(40), 'one that was skipped came with the next one');
  assert.deepEqual([on({}, { added: 4 }).state, on({}, { added: 4 }).confirmed_at], ['there', null], 'long ago');
});

test('what left is gone from a mirror that holds the generation that took it away', () => {
  assert.deepEqual([on({}, { removed: 12 }).state, on({}, { removed: 12 }).left_at], ['left', at(40)]);
  assert.equal(on({ generation: 11, state: 'behind' }, { removed: 12 }).state, 'still there');
  assert.equal(on({ generation: 9, state: 'behind' }, { removed: 12 }).state, 'not there');
});

test('what was recalled is there until the mirror was rid of it', () => {
  assert.equal(on({}, { recall: 3 }, 2).state, 'still there');
  assert.equal(on({}, { recall: 3 }, 3).state, 'left');
  assert.equal(on({}, { recall: 3, removed: 12 }, 2).state, 'still there');
});

test('a mirror that is confirmed, but whose users get something older, says so', () => {
  assert.equal(on({ observedGeneration: 9 }, {}).why, 'its users still get generation 9');
  assert.equal(on({ observedUnknownContent: true }, {}).why, 'serves an index that was never published');
});

test('a mirror that was never reached has not got it yet; of another one without a generation nobody knows', () => {
  const never = { generation: null, observedGeneration: null, observedAtMs: null, state: 'unknown' } as const;
  assert.equal(on({ ...never, lastSuccessAtMs: null }, {}).state, 'not yet');
  assert.equal(on({ ...never, lastSuccessAtMs: null }, { removed: 12 }).state, 'not there');
  assert.equal(on(never, {}).state, 'unknown');
});

test('a mirror of another part does not take it', () => {
  const sight = { mirror: statusOf(), takes: false, reached: times, firstOnRecord: 5, recalled: 0 };
  const { state, confirmed_at: since, why } = mirrorStory(sight, { added: 10, removed: null, recall: null });
  assert.deepEqual([state, since, why], ['not taken', null, null]);
});

const next = { nextAttemptAtMs: nowMs + 60_000 };
const error = { lastError: { reason: 'unreachable', message: 'connection refused' } } as const;
const reasons: readonly (readonly [Partial<MirrorFacts>, string])[] = [
  [{ state: 'behind', generation: 11 }, 'behind at generation 11'],
  [{ state: 'pushing', generation: 11 }, 'is pushed to now, is at generation 11'],
  [{ state: 'pushing', generation: null }, 'is pushed to now'],
  [{ state: 'pushing', generation: null, ...error }, 'is pushed to now: last time unreachable: connection refused'],
  [
    { state: 'waiting', waitsFor: 'back-off', ...next, ...error },
    'waits (back-off), next try 2026-11-22T18:11:00Z: unreachable: connection refused',
  ],
  [{ state: 'waiting', waitsFor: 'quiet', ...next }, 'waits (quiet), next try 2026-11-22T18:11:00Z'],
  [
    { state: 'behind', generation: 9, waitsFor: 'standby' },
    'behind at generation 9: standby (first primary serves it)',
  ],
  [
    { state: 'behind', generation: 9, waitsFor: 'together' },
    'behind at generation 9: has the packages, waits for the other mirrors',
  ],
  [{ state: 'blocked', blockedBy: 'permanent', ...error }, 'blocked: unreachable: connection refused'],
  [{ state: 'blocked', blockedBy: 'operator', blockNote: 'by root: disks' }, 'blocked by hand: by root: disks'],
  [{ state: 'unknown', generation: null }, 'what it holds is not known, it is compared next'],
  [{ state: 'unknown', generation: null, lastSuccessAtMs: null }, 'never reached yet'],
  [
    {
      state: 'behind',
      transport: 'pull',
      generation: 9,
      sync: { periodMs: 3_600_000, nextMs: nowMs + 600_000, overdue: false },
    },
    'pulls by itself, is at generation 9, next about 2026-11-22T18:20:00Z',
  ],
];

for (const [changes, words] of reasons) {
  test(`why a mirror is behind, in one line: ${words}`, () => {
    assert.equal(whyBehind(statusOf(changes)), words);
    assert.equal(on({ ...changes, generation: changes.generation ?? 9 }, { added: 12 }).state, 'not yet');
  });
}

const file: FileStory = {
  kind: 'package',
  path: 'main/x86_64/hello-1.0-r0.apk',
  package: { name: 'hello', version: '1.0-r0', arch: 'x86_64' },
  size: 4200,
  sha256: 'ab'.repeat(32),
  state: 'served',
  builder: 'bpo',
  batch: 'b12',
  first_seen_at: at(70),
  uploaded_at: at(65),
  decisions: [],
  rollback: null,
  verified: {
    at: at(60),
    index: 'APKINDEX.tar.gz',
    index_key: 'build.rsa.pub',
    index_key_sha256: 'cd'.repeat(32),
    package_key: null,
  },
  published: { generation: 12, at: at(60) },
  left: null,
  recall: null,
  mirrors: [],
};

function textOf(...stories: Explanation['stories'][number][]): string {
  return renderExplanationText({ version: 1, asked: 'x', generation: 12, stories, matches: stories.length }, nowMs);
}

test('the life of a package reads from the upload to the mirrors, those first that are not as they should be', () => {
  const mirrors = [on({}, {}), on({ name: 'rome', state: 'behind', generation: 9 }, {})];
  assert.equal(
    textOf({ ...file, mirrors }),
    `main/x86_64/hello-1.0-r0.apk: served
  package    hello 1.0-r0, x86_64, 4.2 kB, SHA-256 ${'ab'.repeat(32)}
  uploaded   2026-11-22T18:08:55Z (1 min 5 s ago) by bpo, batch b12
  verified   2026-11-22T18:09:00Z (1 min ago) named by APKINDEX.tar.gz, signed by build.rsa.pub (SHA256:cdcdcdcdcdcdcdcd…)
  published  2026-11-22T18:09:00Z (1 min ago) as generation 12
  mirrors    1 not yet, 1 there
             rome   not yet: behind at generation 9
             paris  there since 2026-11-22T18:09:00Z (1 min ago), seen there 2026-11-22T18:09:10Z
`,
  );
});

test('what left is told with the time until which it is kept, and what happens afterwards', () => {
  const left = { generation: 13, at: at(30), kept_until: at(-3600), again: null };
  const kept = textOf({ ...file, state: 'kept', left });
  assert.match(kept, /^main\S+: in no served index any more, kept for who still asks for it\n/);
  assert.match(
    kept,
    /\n  left       \S+ \(30 s ago\) with generation 13, kept for clients until 2026-11-22T19:10:00Z\n/,
  );
  assert.match(
    textOf({ ...file, state: 'kept', left: { ...left, again: 15 } }),
    /^main\S+: left, and came again with generation 15\n/,
  );
  const over = textOf({ ...file, state: 'kept', left: { ...left, kept_until: at(1) } });
  assert.match(over, /^main\S+: in no served index any more, pruned as soon as no mirror needs it\n/);
});

const batch: BatchStory = {
  kind: 'batch',
  id: 'b13',
  builder: 'bpo',
  state: 'held',
  first_seen_at: at(60),
  updated_at: at(50),
  uploaded_at: null,
  verified_at: null,
  published: null,
  indexes: [{ path: 'main/x86_64/APKINDEX.tar.gz', change: null, sha256: 'ef', signed_by: null }],
  changed_names: 0,
  changes: [],
  reasons: [{ code: 'MASS_REMOVAL', path: 'main/x86_64', detail: '5 of 6 packages' }],
  decisions: [{ decision: 'approved', at: at(10), who: 'alice', why: 'retired' }],
  rollback: null,
  quarantine: null,
  mirrors: [],
};

test('a held batch is told with its reasons, what was decided and what can be done', () => {
  assert.equal(
    textOf(batch),
    `batch b13: held
  uploaded   2026-11-22T18:09:00Z (1 min ago) by bpo
  held       2026-11-22T18:09:10Z (50 s ago)
  indexes    main/x86_64/APKINDEX.tar.gz
  because    MASS_REMOVAL main/x86_64: 5 of 6 packages
  approved   2026-11-22T18:09:50Z (10 s ago) by alice: retired
  to do      lockstepd preview b13, then approve or reject it, or let the builder complete the upload
`,
  );
});

test('what was approved, and what a rollback published again, says so', () => {
  const decisions = [{ decision: 'approved', at: at(62), who: 'alice', why: '' }] as const;
  assert.match(
    textOf({ ...file, decisions }),
    /\n  approved   2026-11-22T18:08:58Z \(1 min 2 s ago\) by alice\n  published /,
  );
  const text = textOf({ ...file, rollback: { to: 3, who: 'alice', why: 'broken' }, uploaded_at: null });
  assert.match(text, /\n  rollback   to generation 3 by alice: broken\n/);
  assert.doesNotMatch(text, /uploaded/);
});

test('a batch of a rollback says who went back, and why', () => {
  const text = textOf({
    ...batch,
    state: 'published',
    published: { generation: 13, at: at(50) },
    rollback: { to: 11, who: 'alice', why: 'broken' },
    reasons: [],
    decisions: [],
    changed_names: 2,
    changes: [{ kind: 'downgraded', name: 'hello', from: '2-r0', to: '1-r0' }],
  });
  assert.match(text, /\n  rollback   to generation 11 by alice: broken\n/);
  assert.match(text, /\n  changes    2 packages: downgraded hello 2-r0 to 1-r0, …\n/);
});

test('what others wrote cannot reach the terminal, and hundreds of mirrors or reasons stay a page', () => {
  const mirror = { ...on({ name: hostile, state: 'behind', generation: 9 }, {}), why: hostile };
  const many = Array.from({ length: 300 }, () => mirror);
  const reason = { code: 'NAME', path: hostile, detail: hostile } as const;
  const text = textOf(
    { ...file, path: hostile, builder: hostile, mirrors: many },
    { ...batch, reasons: Array.from({ length: 300 }, () => reason) },
  );
  assert.ok(!text.includes('\u001b') && !text.includes('\u202e'));
  assert.ok(text.split('\n').length < 60, text);
  assert.match(text, /… and 280 more, see --json\n/);
});

test('matches that are not shown are counted', () => {
  const text = renderExplanationText({ version: 1, asked: 'x', generation: 12, stories: [file], matches: 8 }, nowMs);
  assert.match(text, /\n… and 7 older: name REPOSITORY\/FILE or NAME-VERSION, or see more with --limit\n$/);
});
