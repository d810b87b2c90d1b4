import assert from 'node:assert/strict';
import test from 'node:test';
import { filesOf, indexFilesOf, isOursToRemove, planComparison, splitReplacing } from '../../src/replicate/plan.ts';

const row = (file: string, size: number, mtimeSeconds: number) => ({
  id: 1,
  repository: 'main/x86_64',
  file,
  size,
  mtimeSeconds,
  sha256: '',
  source: null,
  retained: false,
});

test('only what differs in size or time is sent', () => {
  const files = filesOf([
    row('a-1-r0.apk', 10, 5),
    row('b-1-r0.apk', 10, 5),
    row('c-1-r0.apk', 10, 5),
    row('d-1-r0.apk', 10, 5),
  ]);
  const remote = new Map([
    ['a-1-r0.apk', { size: 10, mtimeSeconds: 5 }],
    ['b-1-r0.apk', { size: 9, mtimeSeconds: 5 }],
    ['c-1-r0.apk', { size: 10, mtimeSeconds: 6 }],
  ]);
  assert.deepEqual(
    planComparison(files, remote).map((f) => f.path),
    ['main/x86_64/b-1-r0.apk', 'main/x86_64/c-1-r0.apk', 'main/x86_64/d-1-r0.apk'],
  );
});

test('what takes the place of other bytes is kept back for the indexes, as far as there is room', () => {
  const files = filesOf([row('a-1-r0.apk', 10, 5), row('b-1-r0.apk', 10, 5), row('c-1-r0.apk', 10, 5)]);
  const remote = new Map(['a-1-r0.apk', 'c-1-r0.apk'].map((name) => [name, { size: 9, mtimeSeconds: 5 }]));
  const [a, b, c] = files;
  assert.deepEqual(splitReplacing(files, remote, 2), { now: [b], later: [a, c] });
  assert.deepEqual(splitReplacing(files, remote, 1), { now: files, later: [] });
});

test('indexes are sent under their name with size and time', () => {
  const index = {
    repository: 'main/x86_64',
    file: 'Packages.adb' as const,
    since: 1,
    sha256: '',
    size: 7,
    mtimeSeconds: 8,
    packages: 0,
    signedBy: '',
    builder: '',
    source: null,
  };
  assert.deepEqual(indexFilesOf([index]), [{ path: 'main/x86_64/Packages.adb', size: 7, mtimeSeconds: 8 }]);
});

test('on a mirror only packages and temporary files of pushes are ours to remove', () => {
  for (const name of ['foo-1.0-r0.apk', '.foo-1.0-r0.apk.Xa9bQ2', '.APKINDEX.tar.gz.lockstepd-1a2b3c'])
    assert.ok(isOursToRemove(name), name);
  for (const name of ['APKINDEX.tar.gz', 'README', '.htaccess', '.well-known', 'index.html', '.apk'])
    assert.ok(!isOursToRemove(name), name);
});
