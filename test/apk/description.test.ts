import assert from 'node:assert/strict';
import test from 'node:test';
import { compareDescriptions } from '../../src/apk/description.ts';

/** Older, newer: as Alpine's builders write them, and dates. */
const ordered: readonly (readonly [string, string])[] = [
  ['v3.16.3-13-g4d933a1fa3', 'v3.16.3-14-g54a39ace82a'],
  ['v3.16.3-913-g4d933a1fa3', 'v3.17.3-216-g54a39ace82a'],
  ['v3.16.3', 'v3.16.3-1-g4d933a1fa3'],
  ['v3.17.0_rc1-3-g4d933a1fa3', 'v3.17.0'],
  ['v20210402-2123-gabcdef\n', 'v20210402-2124-gabcdef'],
  ['v20210402-2123-gabcdef', 'v20220328-0-gabcdef'],
  ['main 2026-11-21', 'main 2026-11-22'],
  ['2026-11-22', '2026-11-22T00:00:01Z'],
  ['2026-11-22T18:00:00+02:00', '2026-11-22 16:00:01'],
  ['built 2026-11-22T18:00:00.5Z', 'built 2026-11-22T18:01Z'],
];

for (const [older, newer] of ordered) {
  test(`${JSON.stringify(older)} is older than ${JSON.stringify(newer)}`, () => {
    assert.ok((compareDescriptions(older, newer) ?? 0) < 0);
    assert.ok((compareDescriptions(newer, older) ?? 0) > 0);
    assert.equal(compareDescriptions(newer, newer), 0);
  });
}

for (const [a, b] of [
  [null, 'v3.16.3'],
  ['sample', 'sample'],
  ['v3.16.3-13-g4d933a1fa3', '2026-11-22'],
  ['2026-13-45', '2026-11-22'],
  ['packages of 2026', 'packages of 2025'],
  ['v3.16.3 x', 'v3.16.2'],
] as const) {
  test(`${JSON.stringify(a)} and ${JSON.stringify(b)} say nothing of their ages`, () =>
    assert.equal(compareDescriptions(a, b), null));
}
