import assert from 'node:assert/strict';
import test from 'node:test';
import { findingLine } from '../../../src/cli/doctor/finding.ts';
import { type AccountFacts, judgeMirrors, judgeSkews, type UrlFacts } from '../../../src/cli/doctor/online.ts';
import type { MirrorConfig, TransportConfig } from '../../../src/config/mirror-schema.ts';
import type { Trace } from '../../../src/store/trace.ts';

const place = 'mirror paris (sftp u@h:22)';
const where = 'mirror paris, https://m/';
const sftp = { type: 'sftp', user: 'u', host: 'h', port: 22 } as TransportConfig;
const published: Trace = { generation: 12, primary: null, publishedAtMs: 0, indexes: new Map() };
const account: AccountFacts = { worked: 'lets us list /', doubts: [] };
const index = (answer: NonNullable<UrlFacts['index']>['answer']): UrlFacts['index'] => ({
  path: 'main/x86_64/APKINDEX.tar.gz',
  sha256: 'aa',
  answer,
});
const url: UrlFacts = { index: index({ sha256: 'aa' }), trace: { sha256: 'bb' }, generation: 12, clockSkewSeconds: 0 };

interface Case {
  readonly transport?: TransportConfig;
  readonly account?: AccountFacts;
  readonly url?: Partial<UrlFacts> | null;
  readonly published?: Trace | null;
  readonly stranger?: boolean;
}

function judge(change: Case): string[] {
  const mirror = { name: 'paris', url: 'https://m/', transport: change.transport ?? sftp } as MirrorConfig;
  const facts = {
    mirror,
    account: change.account ?? account,
    url: change.url === null ? null : { ...url, ...change.url },
  };
  const trace = change.published === undefined ? published : change.published;
  return judgeMirrors({ mirrors: [facts], published: trace }, change.stranger).map(findingLine);
}

test('a mirror that lets us in and serves what we publish is one line for each', () => {
  assert.deepEqual(judge({}), [`ok    ${place}: lets us list /`, `ok    ${where}: serves generation 12`]);
  assert.deepEqual(judge({ url: null }), [`ok    ${place}: lets us list /`]);
});

const failed = (message: string): Partial<UrlFacts> => ({
  index: index({ failed: message }),
  trace: { failed: message },
  generation: null,
});
const table: readonly (readonly [Case, string])[] = [
  [
    { account: { reason: 'host_key', message: 'h: the host key is not the pinned one: ask its admin' } },
    `fail  ${place}: host_key: h: the host key is not the pinned one: ask its admin`,
  ],
  [
    { account: { reason: 'busy', message: 'rsync ended with 12: another push holds the lock' } },
    `warn  ${place}: busy: rsync ended with 12: another push holds the lock`,
  ],
  [
    { account: { worked: 'ok', doubts: [{ found: 'may not delete', remedy: 'ask for it' }] } },
    `warn  ${place}: may not delete: ask for it`,
  ],
  [
    { account: { reason: 'local', message: 'private key /k: EACCES: make it readable' }, stranger: true },
    `warn  ${place}: private key /k: EACCES: make it readable: this user is not the daemon: try again as root`,
  ],
  [
    { account: { reason: 'local', message: 'private key /k: EACCES: make it readable' } },
    `fail  ${place}: local: private key /k: EACCES: make it readable`,
  ],
  [
    {
      transport: { type: 'directory', path: '/m' },
      account: { reason: 'permission', message: 'directory: no' },
      stranger: true,
    },
    'warn  mirror paris (directory /m): directory: no: this user is not the daemon: try again as root',
  ],
  [
    { url: failed('getaddrinfo ENOTFOUND m') },
    `fail  ${where}: no usable answer: getaddrinfo ENOTFOUND m: the host name does not resolve: check url, and the name server`,
  ],
  [
    { url: failed('connect ECONNREFUSED 127.0.0.1:80') },
    `fail  ${where}: no usable answer: connect ECONNREFUSED 127.0.0.1:80: does its web server run, is the port of url right?`,
  ],
  [
    { url: failed('connect ENETUNREACH') },
    `fail  ${where}: no usable answer: connect ENETUNREACH: there is no way to the host: check the network`,
  ],
  [
    { url: failed('CERT_HAS_EXPIRED: certificate has expired') },
    `fail  ${where}: no usable answer: CERT_HAS_EXPIRED: certificate has expired: its certificate cannot be trusted: its admin must renew it`,
  ],
  [
    { url: failed('HTTP status 403') },
    `fail  ${where}: no usable answer: HTTP status 403: its web server lets nobody read there: its admin must allow it`,
  ],
  [
    { url: failed('HTTP status 502') },
    `fail  ${where}: no usable answer: HTTP status 502: its admin must look into the log of the web server`,
  ],
  [
    { url: failed('no answer within 20 s') },
    `fail  ${where}: no usable answer: no answer within 20 s: check url by hand: curl -I, then ask its admin`,
  ],
  [
    { url: { index: index({ absent: true }) } },
    `warn  ${where}: answers, and has no main/x86_64/APKINDEX.tar.gz: is url the directory that is pushed to? A mirror that was never pushed to has none yet`,
  ],
  [
    { url: { index: index({ sha256: 'cc' }), generation: 11 } },
    `warn  ${where}: its main/x86_64/APKINDEX.tar.gz is another one than ours (it serves generation 11, we 12): see lockstepd status: it is behind, or somebody else writes there`,
  ],
  [
    { url: { trace: { absent: true }, generation: null } },
    `warn  ${where}: serves our index, but no lockstep.json: let it take that file too: it tells people and tools which generation they get`,
  ],
  [
    { url: { clockSkewSeconds: -3600 } },
    `warn  ${where}: its clock is 3600 s behind ours: one of the two is wrong: see the finding about our clock, else tell its admin`,
  ],
];

for (const [change, expected] of table)
  test(`mirrors: ${expected.slice(6, 120)}`, () => {
    assert.deepEqual(
      judge(change).filter((line) => !line.startsWith('ok')),
      [expected],
    );
  });

test('before the first generation a web server that has nothing is well', () => {
  const nothing = { index: null, trace: { absent: true as const }, generation: null };
  assert.deepEqual(judge({ url: nothing, published: null }).slice(1), [
    `ok    ${where}: answers; nothing is published here yet`,
  ]);
});

test('our clock is wrong when most of several mirrors say so, and not when one does', () => {
  const line = (...skews: number[]): string => findingLine(judgeSkews(skews));
  assert.equal(
    line(600, 605, 598, 0),
    'fail  clock against mirrors: ours is 600 s behind what 3 of 4 mirrors say: set it: timedatectl set-ntp true, or install chrony',
  );
  assert.match(line(-600, -600), /^fail .* ours is 600 s ahead of what 2 of 2 mirrors say/);
  assert.match(line(600), /^ok/);
  assert.match(line(600, 0, 0), /^ok/);
  assert.match(line(600, -600), /^ok/);
  assert.equal(line(), 'ok    clock against mirrors: no mirror has told its time');
});
