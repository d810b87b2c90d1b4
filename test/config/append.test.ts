import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import test from 'node:test';
import { appendToList, writeYaml } from '../../src/config/document.ts';

const item = { name: 'x', path: 'main/{arch}' };

for (const [what, before, after] of [
  ['no list at all', 'a: 1', 'a: 1\n\nmirrors:\n  - name: x\n    path: main/{arch}\n'],
  ['an empty key', 'mirrors: # none\n\nb: 2\n', 'mirrors: # none\n  - name: x\n    path: main/{arch}\n\nb: 2\n'],
  ['empty brackets', 'mirrors: []  # none\nb: 2\n', 'mirrors:  # none\n  - name: x\n    path: main/{arch}\nb: 2\n'],
  [
    'items, with comments and another indentation',
    'mirrors:\n- name: y\n  keys:\n    - A\n    - B # b\n# after\nb: "1"   # kept\n',
    'mirrors:\n- name: y\n  keys:\n    - A\n    - B # b\n- name: x\n  path: main/{arch}\n# after\nb: "1"   # kept\n',
  ],
  [
    'a text of several lines',
    'mirrors:\n  - name: |\n      y\nb: 1\n',
    'mirrors:\n  - name: |\n      y\n  - name: x\n    path: main/{arch}\nb: 1\n',
  ],
] as const) {
  test(`an item is added to ${what}, and every other byte stays`, () => {
    assert.equal(appendToList(before, 'mirrors', item), after);
  });
}

test('what cannot be added to without changing it is left to a person', () => {
  const shared = 'mirrors: &m\n  - name: y\nmore: *m\n';
  for (const text of [shared, 'mirrors: [{name: y}]\n', 'mirrors: {}\n', 'mirrors: 1\n', 'mirrors: [\n', '- a\n', '']) {
    assert.equal(appendToList(text, 'mirrors', item), null, JSON.stringify(text));
  }
});

test('the example configuration takes a mirror and loses nothing', () => {
  const text = readFileSync(resolve(import.meta.dirname, '../../config/lockstepd.example.yaml'), 'utf8');
  const changed = appendToList(text, 'mirrors', item) ?? '';
  const added = writeYaml([item]).replace(/^(?=.)/gm, '  ');
  assert.ok(changed.includes(added));
  assert.equal(changed.replace(added, ''), text);
});
