import assert from 'node:assert/strict';
import test from 'node:test';
import type { Assessment } from '../../src/ingest/batch.ts';
import { applyQuotas, type Demand } from '../../src/ingest/quotas.ts';

const quotas = { maxFileBytes: 100, maxBatchBytes: 200, maxInboxBytes: 300, maxPackages: 9, maxRepositories: 9 };
const hold = { quotas, missingPackages: 'hold' } as const;
const closed = (repository: string): Assessment => ({
  repository,
  index: repository,
  sha256: 'x',
  base: null,
  vanished: false,
  kind: 'closed',
});
const incomplete = (repository: string): Assessment => ({
  repository,
  index: repository,
  sha256: 'x',
  base: null,
  vanished: false,
  kind: 'incomplete',
  reasons: [],
});
const demand = (repository: string, bytes: number, largest = 50): Demand => ({
  index: repository,
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

test('of a batch that is too large the largest are held until the rest fits; what does not go out with it does not count', () => {
  const demands = [demand('a', 150), demand('b', 120), demand('c', 20), demand('d', 30)];
  const found = words(applyQuotas([closed('a'), closed('b'), closed('c'), incomplete('d')], demands, hold));
  assert.match(
    String(found[0]),
    /^QUOTA a: 150 bytes are new here, 290 in the batch, at most 200 \(quotas\.max_batch\)/,
  );
  assert.deepEqual(found.slice(1), ['b closed', 'c closed', 'd incomplete']);
  const publish = { quotas, missingPackages: 'publish' } as const;
  const both = words(applyQuotas([closed('a'), incomplete('d')], [demand('a', 150), demand('d', 51)], publish));
  assert.match(String(both[0]), /^QUOTA a/);
  assert.equal(both[1], 'd incomplete');
});

test('of an inbox that is too full the largest are held; what is held or refused already does not count', () => {
  const refused: Assessment = {
    repository: 'r',
    index: 'r',
    sha256: null,
    base: null,
    vanished: false,
    kind: 'refused',
    reasons: [],
  };
  const huge = demand('h', 10_000, 10_000);
  const demands = [demand('a', 160), demand('b', 150), demand('r', 5000), huge];
  const found = words(applyQuotas([closed('a'), incomplete('b'), refused, closed('h')], demands, hold));
  assert.match(
    String(found[0]),
    /^QUOTA a: 160 bytes are new here, 310 in the inbox, at most 300 \(quotas\.max_inbox\)/,
  );
  assert.deepEqual(found.slice(1, 3), ['b incomplete', 'r refused']);
  assert.match(String(found[3]), /^QUOTA h\/big\.apk/);
});
