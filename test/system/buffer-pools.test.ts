/** Pools of buffers are blocks that malloc maps by themselves, under the settings that the unit gives. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { mapBufferPools, poolBytes } from '../../src/system/buffer-pools.ts';

test('small buffers come from pools that are mapped by themselves', () => {
  mapBufferPools();
  // The pool that was there before is used up first.
  for (let n = 0; n < 200; n++) Buffer.allocUnsafe(1000);
  assert.equal(Buffer.allocUnsafe(10).buffer.byteLength, poolBytes);
  const unit = readFileSync(join(import.meta.dirname, '../../systemd/lockstepd.service'), 'utf8');
  assert.ok(Number(/MALLOC_MMAP_THRESHOLD_=(\d+)/.exec(unit)?.[1]) <= poolBytes, 'the unit lets malloc map them');
});
