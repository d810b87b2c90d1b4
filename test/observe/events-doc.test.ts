import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import test from 'node:test';
import { type LogCall, logCalls, logCallsIn } from '../support/log-calls.ts';

const document = resolve(import.meta.dirname, '../../config/docs/events.md');

interface Row {
  readonly levels: readonly string[];
  readonly fields: readonly string[];
}

function documented(): Map<string, Row> {
  const rows = [...readFileSync(document, 'utf8').matchAll(/^\| `(\w+)` \| ([a-z, ]+) \| ([^|]*) \| ([^|]+) \|$/gm)];
  const names = rows.map(([, event = '']) => event);
  assert.deepEqual(
    names.filter((event, n) => names.indexOf(event) !== n),
    [],
    'each event stands there once',
  );
  return new Map(
    rows.map(([, event = '', levels = '', fields = '']) => [
      event,
      { levels: levels.split(', ').sort(), fields: [...fields.matchAll(/`(\w+)`/g)].map((m) => m[1] ?? '').sort() },
    ]),
  );
}

const calls = logCalls();
const unique = (words: readonly string[]): string[] => [...new Set(words)].sort();
const byEvent = new Map<string, LogCall[]>();
for (const call of calls) for (const event of call.events) byEvent.set(event, [...(byEvent.get(event) ?? []), call]);

test('each call of the log has a name in snake case, written out, and a level', () => {
  assert.ok(calls.length > 80, 'the reader of calls sees calls');
  const bad = calls.filter(
    ({ events, levels }) =>
      events.length === 0 || levels.length === 0 || events.some((event) => !/^[a-z]+(_[a-z]+)*$/.test(event)),
  );
  assert.deepEqual(bad, []);
});

test('no field takes the place of what each line has', () => {
  const reserved = calls.filter(({ fields }) => fields.some((field) => ['event', 'level', 'time'].includes(field)));
  assert.deepEqual(reserved, []);
});

test('the document lists exactly the events of the code, with their levels and fields', () => {
  const rows = documented();
  assert.deepEqual([...rows.keys()].sort(), [...byEvent.keys()].sort());
  for (const [event, { levels, fields }] of rows) {
    const found = byEvent.get(event) ?? [];
    const written = unique(found.flatMap((call) => call.fields));
    const expected = found.every(({ whole }) => whole) ? fields : fields.filter((field) => written.includes(field));
    assert.deepEqual([levels, expected], [unique(found.flatMap((call) => call.levels)), written], event);
  }
});

test('the reader of calls sees each form of call', () => {
  const text = `this.#log.info('a'); log[bad ? 'error' : 'warn'](bad ? 'b' : 'c', { x, y: f(1, '}'), ...rest });
    deps.log[late ? 'warn' : 'info']('d', { z: { q: 1 } }); log.debug('e', fields);`;
  assert.deepEqual(
    logCallsIn('f.ts', text).map((call) => [call.events, call.levels, call.fields, call.whole]),
    [
      [['a'], ['info'], [], true],
      [['b'], ['error'], ['x', 'y'], false],
      [['c'], ['warn'], ['x', 'y'], false],
      [['d'], ['warn', 'info'], ['z'], true],
      [['e'], ['debug'], [], false],
    ],
  );
});
