import assert from 'node:assert/strict';
import test from 'node:test';
import type { Assessment } from '../../src/ingest/batch.ts';
import { gather } from '../../src/ingest/together.ts';

const trace = new Map([
  ['a/APKINDEX.tar.gz', 'a2'],
  ['b/APKINDEX.tar.gz', 'b2'],
]);

function open(
  index: string,
  sha256: string | null,
  kind: 'closed' | 'incomplete' | 'guarded',
  vanished = false,
): Assessment {
  const base = { repository: index.slice(0, 1), index, sha256, base: null, vanished };
  return kind === 'closed' ? { ...base, kind } : { ...base, kind, reasons: [] };
}

const a2 = open('a/APKINDEX.tar.gz', 'a2', 'closed');
const b2 = open('b/APKINDEX.tar.gz', 'b2', 'closed');

for (const [what, served, present, whole, lacking] of [
  ['everything is served', { a: 'a2', b: 'b2' }, [], true, 0],
  ['everything lies there', { a: 'a1', b: 'b1' }, [a2, b2], true, 2],
  ['one is served, one lies there', { a: 'a2', b: 'b1' }, [b2], true, 1],
  ['nothing was ever served', {}, [a2, b2], true, 2],
  ['one has not come yet', { a: 'a1', b: 'b1' }, [a2], false, 2],
  ['packages of one are missing', { a: 'a1' }, [a2, open('b/APKINDEX.tar.gz', 'b2', 'incomplete')], false, 2],
  ['one waits for a person', { a: 'a1' }, [a2, open('b/APKINDEX.tar.gz', 'b2', 'guarded')], true, 2],
  [
    'the next generation has begun to come',
    { a: 'a2', b: 'b2' },
    [open('a/APKINDEX.tar.gz', 'a3', 'closed')],
    false,
    0,
  ],
  [
    'an index that the trace does not name',
    { a: 'a2', b: 'b2' },
    [open('c/APKINDEX.tar.gz', 'c1', 'closed')],
    false,
    0,
  ],
  ['what cannot go out anyhow', { a: 'a2', b: 'b1' }, [b2, open('c/APKINDEX.tar.gz', null, 'guarded')], true, 1],
  [
    'one that vanished is not there',
    { a: 'a2', b: 'b1' },
    [open('b/APKINDEX.tar.gz', 'b2', 'guarded', true)],
    false,
    1,
  ],
] as const) {
  test(`${what}: ${whole ? 'whole' : 'not whole'}`, () => {
    const digests = new Map(Object.entries(served).map(([path, sha256]) => [`${path}/APKINDEX.tar.gz`, sha256]));
    const found = gather(trace, { served: (path) => digests.get(path) ?? null, open: present });
    assert.deepEqual(found, { whole, lacking });
  });
}
