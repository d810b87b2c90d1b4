import assert from 'node:assert/strict';
import test from 'node:test';
import type { Candidate } from '../../src/ingest/candidate.ts';
import { RetiredCandidates } from '../../src/ingest/retired.ts';
import { systemClock } from '../../src/system/clock.ts';

test('builders that never pause do not keep what is done with: each candidate rests for itself', async () => {
  let nowMs = 0;
  const retired = new RetiredCandidates({ ...systemClock, monotonic: () => nowMs });
  const dropped: number[] = [];
  const candidate = (id: number): Candidate =>
    ({ id, retire: () => {}, drop: async () => void dropped.push(id) }) as unknown as Candidate;
  for (let id = 1; id <= 100; id++) {
    retired.add(candidate(id));
    nowMs += 300;
    await retired.dropDue();
    assert.ok(retired.ids.length <= 4, `${retired.ids.length} are kept`);
  }
  nowMs += 1000;
  await retired.dropDue();
  assert.deepEqual(
    dropped,
    Array.from({ length: 100 }, (_, n) => n + 1),
  );
  assert.deepEqual(retired.ids, []);
});
