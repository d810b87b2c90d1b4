import assert from 'node:assert/strict';
import test from 'node:test';
import { WriteWatch } from '../../src/store/writable.ts';

const full = Object.assign(new Error('database or disk is full'), { errcode: 13 });
const insert = 'INSERT INTO package (repository) VALUES (?)';

test('a write that failed for want of room is told until it goes through', () => {
  const watch = new WriteWatch();
  watch.failed(insert, full);
  assert.equal(watch.problem, 'database or disk is full');
  for (let n = 0; n < 100; n++) watch.succeeded('INSERT OR IGNORE INTO staged (id) VALUES (?)');
  assert.notEqual(watch.problem, null, 'candidates lie in a file of their own');
  watch.succeeded("UPDATE batch SET state = 'waiting'");
  assert.notEqual(watch.problem, null, 'a small write fits where the large one does not');
  watch.succeeded(insert);
  assert.equal(watch.problem, null);
});

test('what is never tried again is forgotten after enough other writes; other errors say nothing of the disk', () => {
  const watch = new WriteWatch();
  watch.failed(insert, Object.assign(new Error('UNIQUE constraint failed'), { errcode: 1555 }));
  watch.failed(insert, new Error('of ours'));
  assert.equal(watch.problem, null);
  watch.failed(insert, Object.assign(new Error('disk I/O error'), { errcode: 778 }));
  for (let n = 0; n < 19; n++) watch.succeeded('UPDATE mirror SET recalled = ?');
  assert.equal(watch.problem, 'disk I/O error');
  watch.succeeded('UPDATE mirror SET recalled = ?');
  assert.equal(watch.problem, null);
});
