import assert from 'node:assert/strict';
import test from 'node:test';
import { planComparison } from '../../src/replicate/plan.ts';
import { rcloneFault } from '../../src/replicate/rclone-faults.ts';
import { below, parseFeatures, parseList, parseLogLine, withoutRepeats } from '../../src/replicate/rclone-plan.ts';
import { stageOf } from '../../src/replicate/rclone-stage.ts';

const features = (string: string, more: object, precision = 1): string =>
  JSON.stringify({ String: string, Precision: precision, Features: { Move: true, ...more } });

test('how a file is replaced: object stores by put, local and WebDAV by rename, of others nothing is known', () => {
  const replaces = (output: string): unknown => parseFeatures(output)?.replaces;
  assert.equal(replaces(features('S3 bucket b', { BucketBased: true })), 'put');
  assert.equal(replaces(features('Local file system at /x', { IsLocal: true })), 'rename');
  const dav = parseFeatures(features("webdav root ''", {}, 3_153_600_000_000_000_000));
  assert.deepEqual(dav, { keepsTimes: false, replaces: 'rename', renameArgs: ['--header', 'Overwrite: T'] });
  assert.equal(replaces(features('sftp://u@h:22/', {})), null);
  assert.equal(parseFeatures('{}'), null);
  assert.equal(parseFeatures('Usage:'), null);
});

test('where no times are kept, files of one size count as equal', () => {
  const list = parseList('[{"Name":"a","Size":3,"ModTime":"2026-11-23T01:25:04Z","IsDir":false}]', false);
  assert.ok(list);
  assert.deepEqual(list, new Map([['a', { size: 3, mtimeSeconds: null }]]));
  const file = { path: 'd/a', size: 3, mtimeSeconds: 5 };
  assert.deepEqual(planComparison([file], list), []);
  assert.deepEqual(planComparison([{ ...file, size: 4 }], list).length, 1);
  assert.equal(parseList('[{"Name":"a"}]', true), null);
  assert.equal(parseList('[', true), null);
});

test('the log of a run: reports, messages, plain text', () => {
  assert.deepEqual(parseLogLine('{"stats":{"bytes":7,"transfers":1,"renames":2}}'), {
    stats: { bytes: 7, transfers: 1, renames: 2, deletes: 0, checks: 0 },
  });
  assert.deepEqual(parseLogLine('{"msg":"Failed to copy","object":"d/a"}'), { message: 'd/a: Failed to copy' });
  assert.deepEqual(parseLogLine('2026/11/23 Failed to x'), { message: '2026/11/23 Failed to x' });
});

test('a path that two waves name goes with the later one', () => {
  const [a, b] = [
    { path: 'a', size: 1, mtimeSeconds: 1 },
    { path: 'b', size: 1, mtimeSeconds: 1 },
  ];
  assert.deepEqual(withoutRepeats([[a, b, a], [], [a]]), [[b], [a]]);
});

test('paths below a remote', () => {
  assert.equal(below('s3:b/x', 'main/a'), 's3:b/x/main/a');
  assert.equal(below('dav:', 'main/a'), 'dav:main/a');
  assert.equal(below('dav:', '.'), 'dav:');
});

const faults: readonly (readonly [number | null, string, string, string])[] = [
  [1, "didn't find section in config file", 'local', 'permanent'],
  [1, 'dial tcp: lookup x.invalid: no such host', 'dns', 'retryable'],
  [1, 'dial tcp 127.0.0.1:1: connect: connection refused', 'refused', 'retryable'],
  [1, 'x509: certificate signed by unknown authority', 'host_key', 'security'],
  [1, 'read metadata failed: Unauthorized: 401 Unauthorized', 'auth', 'permanent'],
  [1, 'AccessDenied: Access Denied status code: 403', 'permission', 'permanent'],
  [1, 'SlowDown: Please reduce your request rate', 'busy', 'busy'],
  [1, 'write x: no space left on device', 'disk_full', 'retryable'],
  [1, '507 Insufficient Storage', 'disk_full', 'retryable'],
  [3, 'error in ListJSON: directory not found', 'not_found', 'permanent'],
  [3, '', 'not_found', 'permanent'],
  [4, '', 'vanished', 'retryable'],
  [5, '', 'partial', 'retryable'],
  [1, 'corrupted on transfer: sizes differ 2 vs 0', 'partial', 'retryable'],
  [7, 'something new', 'unknown', 'retryable'],
  [null, '', 'closed', 'retryable'],
];

for (const [code, said, reason, kind] of faults) {
  test(`rclone ended with ${code}, saying "${said}": ${reason}`, () => {
    const fault = rcloneFault(code, said);
    assert.deepEqual([fault.reason, fault.kind], [reason, kind]);
    assert.ok(!fault.message.includes('\n'));
  });
}

test('two primaries never share a stage, and each finds its own again', () => {
  const stages = [stageOf('one', '/etc/a'), stageOf('two', '/etc/a'), stageOf('one', '/etc/b')];
  assert.equal(new Set(stages).size, 3);
  assert.equal(stageOf('one', '/etc/a'), stages[0]);
  for (const stage of stages) assert.match(stage, /^\.lockstepd-push-[0-9a-f]{8}$/);
});
