import assert from 'node:assert/strict';
import test from 'node:test';
import { soak } from './readers.ts';

test('readers of the primary and of every mirror find all that an index names, while batches land and the daemon is killed', {
  timeout: 600_000,
}, async (t) => {
  const report = await soak({
    seconds: 12,
    quietSeconds: 4,
    batchEveryMs: 1500,
    killEveryMs: 4000,
    graceSeconds: 5,
  });
  t.diagnostic(`${JSON.stringify(report.reads)} reads, ${report.batches} batches, ${report.kills} kills`);
  assert.deepEqual(report.torn, []);
  assert.deepEqual(report.backwards, []);
  assert.deepEqual(report.lost, []);
  assert.ok(report.kills >= 1);
  for (const [place, reads] of Object.entries(report.reads)) assert.ok(reads > 0, place);
});
