import assert from 'node:assert/strict';
import test from 'node:test';
import type { Assessment } from '../../src/ingest/batch.ts';
import { applyQuotas, type Demand } from '../../src/ingest/quotas.ts';

const quotas = { maxFileBytes: 100, maxBatchBytes: 200, maxInboxBytes: 300, maxPackages: 9, maxRepositories: 9 };
const hold = { quotas, missingPackages: 'hold' } as const;
const closed = (repository: string): Assessment => ({ repository, sha256: 'x', kind: 'closed' });
const incomplete = (repository: string): Assessment => ({ repository, sha256: 'x', kind: 'incomplete', reasons: [] });
const demand = (repository: string, bytes: number, largest = 50): Demand => ({
  repository,
  bytes,
  largest: { file: 'big.apk', bytes: largest },
});

/** `repository kind`, or the reason. */
function words(assessments: readonly Assessment[]): string[] {
  return assessments.map((a) =>
    a.kind === 'guarded'
      ? a.reasons.map((r) => `${r.code} ${r.path}: ${r.detail}`).join()
      : `${a.repository} ${a.kind}`,
  );
}

test('what is within its quotas stays as it is', () => {
  const all = [closed('a'), incomplete('b')];
  assert.deepEqual(applyQuotas(all, [demand('a', 200, 100), demand('b', 100)], hold), all);
});

test('a file that is too large holds its repository only', () => {
  const found = words(applyQuotas([closed('a'), closed('b')], [demand('a', 101, 101), demand('b', 10)], hold));
  assert.match(String(found[0]), /^QUOTA a\/big\.apk: 101 bytes, at most 100 \(quotas\.max_file\)/);
  assert.equal(found[1], 'b closed');
});

test('a batch that is too large is held whole, what does not go out with it does not count', () => {
  const demands = [demand('a', 150), demand('b', 51), demand('c', 90)];
  const found = words(applyQuotas([closed('a'), closed('b'), incomplete('c')], demands, hold));
  for (const n of [0, 1])
    assert.match(String(found[n]), /^QUOTA [ab]: the batch brings 201 bytes .* \(quotas\.max_batch\)/);
  assert.equal(found[2], 'c incomplete');
  const publish = { quotas, missingPackages: 'publish' } as const;
  assert.match(
    String(words(applyQuotas([closed('a'), incomplete('c')], [demand('a', 150), demand('c', 51)], publish))[1]),
    /^QUOTA/,
  );
});

test('an inbox that is too full is held, whatever state its parts are in; what is refused stays refused', () => {
  const refused: Assessment = { repository: 'r', sha256: null, kind: 'refused', reasons: [] };
  const demands = [demand('a', 100), demand('b', 100), demand('r', 101)];
  const found = words(applyQuotas([closed('a'), incomplete('b'), refused], demands, hold));
  for (const n of [0, 1]) assert.match(String(found[n]), /the inbox brings 301 bytes .* \(quotas\.max_inbox\)/);
  assert.equal(found[2], 'r refused');
});
