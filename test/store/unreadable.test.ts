import assert from 'node:assert/strict';
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { isDamage, isUnreadable } from '../../src/store/corrupt.ts';
import { openStore } from '../../src/store/store.ts';
import { temporaryDirectory } from '../support/apk.ts';

test('a page that cannot be read is told from a page that is damaged', () => {
  const read = '*** in database main ***\nTree 30 page 30: unable to get the page. error code=8458';
  assert.equal(isUnreadable(read), true);
  assert.equal(isUnreadable(read.replace('8458', '10')), true);
  assert.equal(isUnreadable(read.replace('8458', '11')), false);
  assert.equal(isUnreadable('Tree 30 page 30: btreeInitPage() returns error code 11'), false);
  assert.equal(isUnreadable('Tree 30 page 30: btreeInitPage() returns error code 266'), true);
  assert.equal(isDamage(new Error('disk I/O error: …')), false);
});

test('a state that can only be read is refused when it is opened, not at the first write', (t) => {
  const directory = temporaryDirectory(t);
  openStore(directory)[Symbol.dispose]();
  chmodSync(join(directory, 'state.db'), 0o444);
  chmodSync(directory, 0o777);
  // Root may write everything.
  const root = process.geteuid?.() === 0;
  if (root) process.seteuid?.(65534);
  try {
    const message = /state\.db: cannot be opened: EACCES: permission denied/;
    assert.throws(() => openStore(directory), { code: 'STATE', message });
  } finally {
    if (root) process.seteuid?.(0);
  }
});
