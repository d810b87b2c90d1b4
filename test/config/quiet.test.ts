import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { msUntilQuiet, parseQuiet, type QuietWindow, quietMsAt } from '../../src/config/quiet.ts';

const windows = (...written: string[]): QuietWindow[] =>
  written.map((one) => {
    const parsed = parseQuiet(one);
    assert.ok('value' in parsed, one);
    return parsed.value;
  });
const minute = 60_000;
const at = (hours: number, minutes = 0, month = 10): number => Date.UTC(2026, month, 23, hours, minutes);

test('a window lasts to its end, over midnight too, and windows that touch are one', () => {
  const day = windows('07:00-23:00');
  assert.deepEqual(
    [quietMsAt(day, at(6, 59)), quietMsAt(day, at(7)), quietMsAt(day, at(23))],
    [0, 16 * 60 * minute, 0],
  );
  const night = windows('22:30-06:00');
  assert.deepEqual([quietMsAt(night, at(23)), quietMsAt(night, at(5))], [7 * 60 * minute, 60 * minute]);
  assert.equal(quietMsAt(windows('10:00-12:00', '12:00-13:00'), at(11)), 120 * minute);
  assert.equal(quietMsAt(windows('20:00-24:00', '00:00-02:00'), at(21)), 5 * 60 * minute);
  assert.equal(quietMsAt([], at(1)), 0);
});

test('a zone counts, summer time too', () => {
  const paris = windows('08:00-09:00 Europe/Paris');
  assert.equal(quietMsAt(paris, at(7, 30)), 30 * minute, 'in November Paris is one hour ahead');
  assert.equal(quietMsAt(paris, at(6, 30, 6)), 30 * minute, 'in July two');
  assert.equal(quietMsAt(paris, at(7, 30, 6)), 0);
});

test('what cannot be a window is refused', () => {
  for (const one of [
    '7:00-23:00',
    '07:00-24:30',
    '24:00-01:00',
    '07:00-07:00',
    '00:00-24:00',
    '07:00',
    '07:00-08:00 Mars/Base',
  ])
    assert.ok('problem' in parseQuiet(one), one);
});

test('no window is missed between two looks', () => {
  const clock = fc.integer({ min: 0, max: 24 * 60 - 1 });
  const text = (m: number): string =>
    `${String(Math.floor(m / 60)).padStart(2, '0')}:${String(m % 60).padStart(2, '0')}`;
  fc.assert(
    fc.property(clock, clock, fc.integer({ min: 0, max: 86_400_000 }), (from, to, ms) => {
      fc.pre(from !== to);
      const [window] = windows(`${text(from)}-${text(to)}`);
      assert.ok(window);
      const now = at(0) + ms;
      const until = msUntilQuiet([window], now) ?? Number.NaN;
      assert.ok(until >= 0 && until < 86_400_000);
      assert.ok(quietMsAt([window], now + until) > 0, 'quiet begins then');
      const left = quietMsAt([window], now);
      if (left > 0) assert.equal(quietMsAt([window], now + left), 0, 'and ends then');
    }),
  );
});
