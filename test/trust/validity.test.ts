import assert from 'node:assert/strict';
import test from 'node:test';
import { parseValidity } from '../../src/trust/validity.ts';

const at = (instant: string): number => Date.parse(instant);

test('a sidecar gives days, both included, or instants', () => {
  assert.deepEqual(parseValidity('not_before = 2026-01-01\nnot_after = 2026-12-31\n'), {
    notBeforeMs: at('2026-01-01T00:00:00Z'),
    notAfterMs: at('2026-12-31T23:59:59.999Z'),
  });
  assert.deepEqual(parseValidity('\n# why\r\n  not_after=2028-02-29T12:30:00Z  \n'), {
    notAfterMs: at('2028-02-29T12:30:00Z'),
  });
  assert.deepEqual(parseValidity('not_before = 2026-01-01'), { notBeforeMs: at('2026-01-01T00:00:00Z') });
});

for (const [title, text, message] of [
  ['an empty one', '', /^it says nothing, expected/],
  ['only a comment', '# not_after = 2026-12-31', /^it says nothing/],
  ['another word', 'notAfter = 2026-12-31', /^line 1 is not understood/],
  ['no date', 'not_after = soon', /^line 1 is not understood/],
  ['a day that does not exist', 'not_after = 2027-02-30', /^line 1 is not understood/],
  ['a local time', 'not_after = 2027-02-03T10:00:00', /^line 1 is not understood/],
  ['a limit given twice', 'not_after = 2027-02-03\nnot_after = 2028-02-03', /^line 2 says not_after again/],
  ['an empty span', 'not_before = 2027-02-03\nnot_after = 2027-02-02', /^not_after is before not_before/],
] as const) {
  test(`a sidecar that cannot be meant is refused: ${title}`, () => {
    assert.throws(() => parseValidity(text), { message });
  });
}
