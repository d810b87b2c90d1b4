import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { parseCron, parseDuration, parseSize } from '../../src/config/units.ts';

test('durations and sizes are whole numbers of one unit', () => {
  const cases = [
    [parseDuration('500ms'), 500],
    [parseDuration('5s'), 5000],
    [parseDuration('10m'), 600_000],
    [parseDuration('48h'), 172_800_000],
    [parseDuration('7d'), 604_800_000],
    [parseDuration('0'), 0],
    [parseSize('64MiB'), 67_108_864],
    [parseSize('2GiB'), 2_147_483_648],
    [parseSize('500KiB'), 512_000],
    [parseSize('1000'), 1000],
    [parseSize('0'), 0],
  ];
  for (const [parsed, value] of cases) assert.deepEqual(parsed, { value });
});

test('what is wrong with a quantity is said together with what was expected', () => {
  const duration = 'expected a duration such as 500ms, 5s, 10m, 48h or 7d';
  const size = 'expected a size such as 500KiB, 64MiB, 2GiB or a number of bytes';
  const cases = [
    [parseDuration('48'), `"48" has no unit (known: ms, s, m, h, d), ${duration}`],
    [parseDuration('3w'), `"3w" has the unknown unit "w" (known: ms, s, m, h, d), ${duration}`],
    [
      parseDuration('5constructor'),
      `"5constructor" has the unknown unit "constructor" (known: ms, s, m, h, d), ${duration}`,
    ],
    [parseDuration('-5s'), `"-5s", ${duration}`],
    [parseDuration('1.5h'), `"1.5h", ${duration}`],
    [parseDuration('5 s'), `"5 s", ${duration}`],
    [parseDuration(''), `"", ${duration}`],
    [parseDuration('9999999999999999d'), `"9999999999999999d" is too large, ${duration}`],
    [parseSize('64MB'), `"64MB" has the unknown unit "MB" (known: KiB, MiB, GiB, TiB), ${size}`],
    [parseSize('9999999999999TiB'), `"9999999999999TiB" is too large, ${size}`],
  ];
  for (const [parsed, problem] of cases) assert.deepEqual(parsed, { problem });
});

test('any written quantity reads back as its number of units', () => {
  const factors = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
  fc.assert(
    fc.property(fc.nat(10 ** 8), fc.constantFrom(...(Object.keys(factors) as (keyof typeof factors)[])), (n, unit) => {
      assert.deepEqual(parseDuration(`${n}${unit}`), { value: n * factors[unit] });
    }),
  );
});

test('no text makes a reader of quantities throw or give anything but a safe number', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.stringMatching(/^\d{0,20}[a-zA-Z]{0,4}$/)), (text) => {
      for (const parsed of [parseDuration(text), parseSize(text)]) {
        if ('value' in parsed) assert.ok(Number.isSafeInteger(parsed.value) && parsed.value >= 0);
        else assert.match(parsed.problem, /, expected a (duration|size) such as /);
      }
    }),
  );
});

test('cron expressions have five fields in range', () => {
  for (const good of ['0 4 * * 0', '*/5 * * * *', '0,30 8-18/2 1-15 jan-MAR Sun', '  0  4 * * 7 ']) {
    assert.deepEqual(parseCron(good), { value: good.trim().split(/\s+/).join(' ') });
  }
  const expected = 'expected five cron fields (minute hour day month weekday) such as "0 4 * * 0"';
  const bad = [
    ['0 4 * *', '"0 4 * *" has 4 fields'],
    ['0 0 4 * * 0', '"0 0 4 * * 0" has 6 fields'],
    ['60 4 * * 0', '"60" is no minute (0-59)'],
    ['0 24 * * 0', '"24" is no hour (0-23)'],
    ['0 4 0 * 0', '"0" is no day of month (1-31)'],
    ['0 4 * foo 0', '"foo" is no month (1-12)'],
    ['0 4 * * 8', '"8" is no day of week (0-7)'],
    ['30-10 4 * * 0', '"30-10" is no minute (0-59)'],
    ['*/0 4 * * 0', '"*/0" is no minute (0-59)'],
    ['1,,2 4 * * 0', '"1,,2" is no minute (0-59)'],
    ['@daily', '"@daily" has 1 fields'],
  ] as const;
  for (const [text, what] of bad) assert.deepEqual(parseCron(text), { problem: `${what}, ${expected}` });
});
