import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, type Stats, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import test, { type TestContext } from 'node:test';
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

const script = `
import { createLog } from ${JSON.stringify(resolve(import.meta.dirname, '../../src/system/log.ts'))};
import { stdoutIsJournal } from ${JSON.stringify(resolve(import.meta.dirname, '../../src/system/journal.ts'))};
const log = createLog({ level: 'info', terminal: false, journal: stdoutIsJournal(process.env) });
log.debug('hidden');
log.info('one', { n: 1 });
log.setLevel('debug');
log.debug('two');
log.warn('three', { text: '<3>a\\n<0>b' });
log.setLevel('silent');
log.error('hidden');
log.setLevel('error');
log.error('four');
`;

/** What a process writes whose stdout is a file; `stream`: its JOURNAL_STREAM, made from the stat of the file. */
function written(t: TestContext, stream: (file: Stats) => string | undefined): string[] {
  const directory = mkdtempSync(join(tmpdir(), 'lockstepd-log-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const file = join(directory, 'out');
  const fd = openSync(file, 'w');
  const value = stream(statSync(file));
  const env = { ...process.env, ...(value === undefined ? {} : { JOURNAL_STREAM: value }) };
  const { status } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', fd, 'inherit'],
    env,
  });
  closeSync(fd);
  assert.equal(status, 0);
  return readFileSync(file, 'utf8').split('\n').slice(0, -1);
}

test('the journal gets each line with its priority, a file plain JSON', (t) => {
  const journal = written(t, ({ dev, ino }) => `${dev}:${ino}`);
  assert.deepEqual(
    journal.map((line) => line.slice(0, 3)),
    ['<6>', '<7>', '<4>', '<3>'],
  );
  const records = journal.map((line) => JSON.parse(line.slice(3)) as { event: string; text?: string });
  assert.deepEqual(
    records.map(({ event }) => event),
    ['one', 'two', 'three', 'four'],
  );
  assert.equal(records[2]?.text, '<3>a\n<0>b');
  for (const other of [() => undefined, ({ dev, ino }: Stats) => `${dev}:${ino + 1}`, () => 'x'])
    assert.match(written(t, other)[0] ?? '', /^\{"level":"info",/);
});
