import assert from 'node:assert/strict';
import test from 'node:test';
import { escapeJson, escapeText, formatTerminalLine } from '../../src/system/log.ts';

test('what could steer a terminal or forge a line is escaped, other text stays', () => {
  assert.equal(escapeText('a\nb\u001b[31m\u202e\u2028\u0000'), 'a\\u{a}b\\u{1b}[31m\\u{202e}\\u{2028}\\u{0}');
  assert.equal(escapeText('grüße 漢字 😀 +~'), 'grüße 漢字 😀 +~');
  assert.equal(escapeText('\ud800'), '\\u{d800}');
});

test('a record is one line on a terminal, whatever its fields hold', () => {
  const line = formatTerminalLine({
    level: 'warn',
    time: '2026-11-22T18:00:01.000Z',
    event: 'batch_held',
    path: 'a\nb\u001b[0m',
    plain: 'x-1.apk',
    n: 3,
  });
  assert.equal(line, '18:00:01 WARN  batch_held path="a\\nb\\u001b[0m" plain=x-1.apk n=3');
});

test('JSON is safe to print and still means the same', () => {
  const value = { text: 'a\nb\u001b[31m\u009b2J\u202e\u2028\u{e0041}\ud800 <ü>' };
  const safe = escapeJson(JSON.stringify(value));
  assert.doesNotMatch(safe, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
  assert.deepEqual(JSON.parse(safe), value);
  const lines = escapeJson(JSON.stringify(value, null, 1), { lines: true });
  assert.equal(lines.split('\n').length, 3);
  assert.deepEqual(JSON.parse(lines), value);
});
