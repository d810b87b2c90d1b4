import assert from 'node:assert/strict';
import test from 'node:test';
import { progressPercent, pushProgressView, renderProgressLine } from '../../src/observe/progress.ts';
import { renderMirrorTable } from '../../src/observe/mirror-table.ts';
import { statusView } from '../../src/observe/status.ts';
import { cut, pad, paint, widthOf } from '../../src/observe/terminal.ts';
import { ProgressMeter } from '../../src/replicate/push-progress.ts';
import { mirrorFacts, nowMs, statusFacts } from './facts.ts';

const half = { what: 'packages', done: 1450, total: 2900, bytes: 1_500_000_000, bytesTotal: 3_000_000_000 };

test('progress is a bar on a terminal, and a line of words elsewhere', () => {
  assert.equal(
    renderProgressLine(half, 60_000, 120),
    '[############............]  50 %  1450 of 2900 packages  1.5 GB of 3.0 GB  25 MB/s  1 min left',
  );
  assert.equal(renderProgressLine(half, 60_000), '50 %, 1450 of 2900 packages, 1.5 GB of 3.0 GB, 25 MB/s, 1 min left');
});

test('what finds no room is left out, the last first; no line is as wide as the terminal', () => {
  for (let columns = 8; columns <= 200; columns++) {
    const line = renderProgressLine(half, 60_000, columns);
    assert.ok(line.length < columns, `${columns}: ${line}`);
    assert.match(line, /50 %/);
  }
  assert.equal(renderProgressLine(half, 60_000, 40), '[####....]  50 %  1450 of 2900 packages');
  assert.equal(renderProgressLine(half, 60_000, 36), ' 50 %  1450 of 2900 packages');
});

test('what is not known is not told', () => {
  const unknown = { what: 'files', done: 7, total: 0, bytes: 0, bytesTotal: 0 };
  assert.equal(renderProgressLine(unknown, 10_000, 100), '7 files');
  assert.equal(
    renderProgressLine({ ...unknown, total: 70 }, 0, 100),
    '[##......................]  10 %  7 of 70 files',
  );
  assert.doesNotMatch(renderProgressLine(half, 500), /left|\/s/, 'too early to judge');
  assert.match(renderProgressLine({ ...unknown, share: 0.25 }, 3000), /^25 %, 7 files, 9 s left$/);
  assert.match(renderProgressLine({ ...half, bytes: 9e9 }, 3000), /^100 %/, 'never more than all');
});

test('a push that fills a mirror is measured by packages that are there and bytes on their way', () => {
  const meter = new ProgressMeter();
  const now = () => meter.now;
  const file = (size: number) => ({ path: 'a', size, mtimeSeconds: 0 });
  meter.sent(5);
  assert.deepEqual(now(), null);
  meter.begin({ packages: 4, bytes: 100 }, nowMs);
  meter.there([file(20), file(20)]);
  meter.sent(10);
  assert.deepEqual(now(), { packages: 2, packagesTotal: 4, bytes: 50, bytesTotal: 100, startedAtMs: nowMs });
  assert.equal(progressPercent(pushProgressView(now(), String)), 50);
  meter.sent(1000);
  assert.equal(now()?.bytes, 100);
  meter.there([file(30), file(30)]);
  assert.deepEqual([now()?.packages, now()?.bytes], [4, 100]);
  meter.end();
  assert.deepEqual(now(), null);
});

test('the table of mirrors keeps within any width, with the worst at the top and the percents of a first push', () => {
  const lag = (seconds: number) => ({ generation: 9, pushedMissingSinceMs: nowMs - seconds * 1000 });
  const progress = { packages: 1, packagesTotal: 4, bytes: 42, bytesTotal: 100, startedAtMs: nowMs };
  const status = statusView(
    statusFacts({
      mirrors: [
        mirrorFacts({ name: 'fine' }),
        mirrorFacts({ name: 'late', state: 'behind', ...lag(60) }),
        mirrorFacts({ name: '東京'.repeat(20), state: 'pushing', pushProgress: progress, ...lag(600) }),
        mirrorFacts({
          name: 'shut',
          state: 'blocked',
          lastError: { reason: 'auth', message: 'the key is refused: '.repeat(9) },
          ...lag(30),
        }),
      ],
    }),
    nowMs,
  );
  for (const columns of [40, 60, 80, 120, 200, 400]) {
    const lines = renderMirrorTable(status, { terminal: false, columns, nowMs }).trimEnd().split('\n');
    assert.deepEqual(
      lines.filter((line) => widthOf(line) > columns),
      [],
    );
    const rows = lines.slice(1).filter((line) => !line.startsWith('  '));
    assert.deepEqual(
      rows.map((line) => line.slice(0, 2)),
      ['sh', '東京', 'la', 'fi'],
      String(columns),
    );
    assert.match(lines.join('\n'), /pushing 42 %/);
  }
  const unsorted = renderMirrorTable(status, { terminal: false, nowMs }).split('\n');
  assert.match(unsorted[1] ?? '', /^fine/);
});

test('texts are cut and padded by the columns that they take', () => {
  assert.equal(widthOf('a東e\u0301'), 4);
  assert.equal(pad('東', 4), '東  ');
  assert.equal(cut('abcdef', 6), 'abcdef');
  assert.equal(cut('abcdefg', 6), 'abcde…');
  assert.equal(cut('東京東京', 5), '東京…');
  assert.equal(cut(paint('abcdefg', 'bad'), 6), '\x1b[31mabcde…\x1b[0m');
  assert.equal(cut(paint('abcdef', 'bad'), 6), paint('abcdef', 'bad'));
});
