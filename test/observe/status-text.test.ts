import assert from 'node:assert/strict';
import test from 'node:test';
import { statusView } from '../../src/observe/status.ts';
import { renderStatusText } from '../../src/observe/status-text.ts';
import { spanText, whenText } from '../../src/observe/words.ts';
import { batchFacts, hostile, mirrorFacts, nowMs, statusFacts, repositoryFacts } from './facts.ts';

const textOf = (facts: Parameters<typeof statusFacts>[0], terminal = false): string =>
  renderStatusText(statusView(statusFacts(facts), nowMs), { terminal, nowMs });

test('the status is a headline, a table of mirrors and the open batches', () => {
  const text = textOf({
    mirrors: [
      mirrorFacts(),
      mirrorFacts({
        name: 'usb-disk',
        state: 'blocked',
        generation: 9,
        pushedMissingSinceMs: nowMs - 7200_000,
        observedAtMs: null,
        nextAttemptAtMs: nowMs + 3600_000,
        lastError: { reason: 'read_only', message: 'the disk is read-only: mount it rw' },
      }),
    ],
    batches: [
      batchFacts({ id: 'done' }),
      batchFacts({
        id: 'h1',
        state: 'held',
        updatedAtMs: nowMs - 60_000,
        reasons: Array.from({ length: 7 }, (_, i) => ({
          code: 'INCOMPLETE' as const,
          path: `a-${i}.apk`,
          detail: 'missing',
        })),
      }),
    ],
  });
  assert.equal(
    text,
    `1 of 2 mirrors in step, generation 12, published 10 min ago

MIRROR    STATE    PUSHED  LAG  OBSERVED  LAG  LAST SUCCESS    NEXT ATTEMPT  REASON
paris     in-sync  12      0 s  12        0 s  1 min 30 s ago  -             -
usb-disk  blocked  9       2 h  -         -    1 min 30 s ago  in 1 h        read_only: the disk is read-only: mount it rw

batch h1 of bpo: held, 1 min ago
  INCOMPLETE a-0.apk: missing
  INCOMPLETE a-1.apk: missing
  INCOMPLETE a-2.apk: missing
  INCOMPLETE a-3.apk: missing
  INCOMPLETE a-4.apk: missing
  … and 2 more
`,
  );
});

test('before the first batch the status says so', () => {
  assert.equal(
    textOf({ generation: 0, publishedAtMs: null, mirrors: [], batches: [] }),
    'nothing published yet; 0 mirrors\n',
  );
});

test('a flood of open batches is cut with a count', () => {
  const batches = Array.from({ length: 14 }, (_, i) => batchFacts({ id: `b${i}`, state: 'waiting' }));
  assert.match(textOf({ batches }), /… and 4 more batches\n$/);
});

test('hostile names, paths and messages reach no terminal as they are', () => {
  const text = textOf({
    mirrors: [mirrorFacts({ name: hostile, lastError: { reason: 'unknown', message: hostile } })],
    batches: [
      batchFacts({
        id: hostile,
        builder: hostile,
        state: 'rejected',
        reasons: [{ code: 'NAME', path: hostile, detail: hostile }],
      }),
    ],
  });
  assert.doesNotMatch(text, /[\p{Cc}\p{Cf}](?<!\n)/u);
  assert.equal(text.split('\n').length, 8, 'no line was forged');
  assert.match(text, /\\u\{1b\}\[2J/);
});

test('what hangs on an untrusted key and what is wrong with key files is told, cut with a count', () => {
  const repositories = Array.from({ length: 12 }, (_, i) =>
    repositoryFacts({ path: `r${i}`, signedBy: `a${hostile}`, keyState: i === 0 ? 'valid' : 'expired' }),
  );
  const text = textOf({ repositories, keyProblems: [{ builder: 'bpo', path: hostile, detail: hostile }] });
  assert.doesNotMatch(text, /[\p{Cc}\p{Cf}](?<!\n)|r0 /u);
  assert.match(text, /\nr1 hangs on the key a.* \(expired\)\n/);
  assert.match(text, /\n… and 2 more: see lockstepd keys list\n/);
  const few = textOf({ keyProblems: [{ builder: 'bpo', path: '/k/a.pub', detail: 'broken' }] });
  assert.match(few, /\nkey of inbox bpo not used: \/k\/a\.pub: broken\n/);
});

test('colours are for terminals only', () => {
  assert.ok(!textOf({}).includes('\u001b'));
  assert.ok(textOf({}, true).includes('\u001b[32mparis '));
});

test('unknown content shows in the row of the mirror', () => {
  assert.match(
    textOf({ mirrors: [mirrorFacts({ observedUnknownContent: true })] }),
    /serves an index that was never published/,
  );
});

test('spans have at most two units', () => {
  assert.deepEqual([0, 0.9, 59, 60, 200, 3600, 7265, 86_400 + 3600 * 4 + 59, -5].map(spanText), [
    '0 s',
    '0 s',
    '59 s',
    '1 min',
    '3 min 20 s',
    '1 h',
    '2 h 1 min',
    '1 d 4 h',
    '0 s',
  ]);
  assert.equal(whenText('2026-11-22T18:10:00Z', nowMs), 'now');
  assert.equal(whenText(null, nowMs), '-');
});
