import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { keyStateOf } from '../../src/config/key-scope.ts';
import { keyWarnings } from '../../src/config/key-warnings.ts';
import { good, publicPem, world } from './world.ts';

const inbox = (keys: string): string => good.replace('keys: $T/keys', keys);

test('keys are one directory, one with what it may sign, or several', async (t) => {
  const { directory, load } = world(t);
  const keys = join(directory, 'keys');
  const read = async (written: string) => (await load(inbox(written))).inboxes[0]?.keys;
  assert.deepEqual(await read('keys: $T/keys'), [{ directory: keys, maySign: null }]);
  assert.deepEqual(await read('keys: { dir: $T/keys }'), [{ directory: keys, maySign: null }]);
  assert.deepEqual(await read('keys: { dir: $T/keys, may_sign: ["main/{arch}"] }'), [
    { directory: keys, maySign: ['main/{arch}'] },
  ]);
  assert.deepEqual(await read('keys: [$T/keys, { dir: $T/keys/, may_sign: ["a/*", b] }]'), [
    { directory: keys, maySign: null },
    { directory: keys, maySign: ['a/*', 'b'] },
  ]);
});

test('signature_algorithms is a list; all of them is no limit', async (t) => {
  const { load } = world(t);
  const read = async (written: string) =>
    (await load(inbox(`signature_algorithms: ${written}\n    keys: $T/keys`))).inboxes[0]?.signatureAlgorithms;
  assert.deepEqual(await read('[RSA256, RSA512]'), ['RSA256', 'RSA512']);
  assert.equal(await read('[ECDSA, RSA, RSA256, RSA512]'), null);
});

const absolute = 'expected the absolute path of a directory of public keys';
for (const [title, written, expected] of [
  ['a number', 'keys: 3', [`7:11: inboxes[0].keys: 3, ${absolute}`]],
  ['nothing', 'settle: 1s', [`4:5: inboxes[0].keys: missing, ${absolute}`]],
  ['an empty list', 'keys: []', ['7:11: inboxes[0].keys: a list, expected a list of one or more directories of keys']],
  ['a relative path in a list', 'keys: [keys]', [`7:12: inboxes[0].keys[0]: "keys", ${absolute}`]],
  ['a list in a list', 'keys: [[$T/keys]]', [`7:12: inboxes[0].keys[0]: a list, ${absolute}`]],
  [
    'an unknown key',
    'keys: [$T/keys, { dir: $T/keys, maysign: [a] }]',
    [/^7:\d+: inboxes\[0\]\.keys\[1\]\.maysign: unknown key, did you mean may_sign\?$/],
  ],
  ['no directory', 'keys: { may_sign: [a] }', [`7:11: inboxes[0].keys.dir: missing, ${absolute}`]],
  [
    'a template',
    'keys: { dir: $T/keys, may_sign: [a/b*] }',
    [/^7:\d+: inboxes\[0\]\.keys\.may_sign\[0\]: "a\/b\*" has "b\*", but \* and \{arch\} stand for whole components/],
  ],
  [
    'no template',
    'keys: { dir: $T/keys, may_sign: [] }',
    [/^7:\d+: inboxes\[0\]\.keys\.may_sign: a list, expected a list of one or more path templates$/],
  ],
  [
    'a directory that is not there',
    'keys: [$T/keys, { dir: $T/none }]',
    [/^7:\d+: inboxes\[0\]\.keys\[1\]\.dir: \$T\/none cannot be read \(ENOENT: no such file or directory\), expected/],
  ],
  [
    'a directory that a builder writes to',
    'keys: [$T/keys, $T/mirror/inbox/one/k]',
    [/^7:\d+: inboxes\[0\]\.keys\[1\]: \$T\/mirror\/inbox\/one\/k lies in the inbox of inboxes\[0\]/],
  ],
  [
    'an algorithm',
    'keys: $T/keys\n    signature_algorithms: [RSA, DSA]',
    ['8:33: inboxes[0].signature_algorithms[1]: "DSA", expected RSA, RSA256, RSA512 or ECDSA'],
  ],
  [
    'no algorithm',
    'keys: $T/keys\n    signature_algorithms: []',
    ['8:27: inboxes[0].signature_algorithms: a list, expected a list of one or more signature algorithms'],
  ],
] as const) {
  test(`what keys cannot be: ${title}`, async (t) => {
    const found = await world(t).problems(inbox(written));
    assert.equal(found.length, expected.length, found.join('\n'));
    for (const [index, line] of expected.entries()) {
      if (typeof line === 'string') assert.equal(found[index], line);
      else assert.match(found[index] ?? '', line);
    }
  });
}

const pem = (bits: number): string =>
  generateKeyPairSync('rsa', { modulusLength: bits }).publicKey.export({ type: 'spki', format: 'pem' }).toString();

test('every key that cannot be used is said, with its path and what to do', async (t) => {
  const { directory, problems } = world(t);
  writeFileSync(join(directory, 'keys/short.rsa.pub'), pem(1024));
  writeFileSync(join(directory, 'keys/torn.rsa.pub'), '-----BEGIN');
  const [line = '', ...rest] = await problems(good);
  assert.deepEqual(rest, []);
  assert.match(
    line,
    /^7:11: inboxes\[0\]\.keys: \$T\/keys\/short\.rsa\.pub: no usable public key: an RSA key of 1024 bits/,
  );
  assert.match(
    line,
    /; \$T\/keys\/torn\.rsa\.pub: no usable public key: expected a line .*: put a PEM public key there/,
  );
});

test('one name for two keys is a problem of the second directory', async (t) => {
  const { directory, problems } = world(t);
  mkdirSync(join(directory, 'more'));
  writeFileSync(join(directory, 'more/one.rsa.pub'), pem(2048));
  assert.match(
    (await problems(inbox('keys: [$T/keys, $T/more]'))).join('\n'),
    /^7:\d+: inboxes\[0\]\.keys\[1\]: \$T\/more\/one\.rsa\.pub: another key of this name is in an earlier directory \(\$T\/keys\/one\.rsa\.pub\), so neither is used: remove or rename one of them$/,
  );
});

test('scopes that match nothing, lost sidecars and keys that do not count today are warnings', async (t) => {
  const { directory, load } = world(t);
  const nowMs = Date.parse('2026-11-22T00:00:00Z');
  for (const name of ['old', 'new']) writeFileSync(join(directory, `keys/${name}.pub`), publicPem);
  writeFileSync(join(directory, 'keys/old.pub.validity'), 'not_after = 2026-11-21\n');
  writeFileSync(join(directory, 'keys/new.pub.validity'), 'not_before = 2026-11-23\n');
  writeFileSync(join(directory, 'keys/gone.pub.validity'), 'not_before = 2026-11-23\n');
  const config = await load(inbox('keys: { dir: $T/keys, may_sign: ["main/x86_64", "edge/{arch}", "main/*/*"] }'));
  const warnings = await keyWarnings(config, nowMs);
  assert.deepEqual(
    warnings.map((line) => line.replaceAll(directory, '$T')),
    [
      'inbox one: may_sign edge/{arch} of $T/keys matches no repository that the inbox may hold',
      'inbox one: may_sign main/*/* of $T/keys matches no repository that the inbox may hold',
      'inbox one: $T/keys/gone.pub.validity belongs to no key: it limits nothing, remove or rename it',
      'inbox one: the key $T/keys/new.pub is not valid yet: signatures by it are refused',
      'inbox one: the key $T/keys/old.pub is expired: signatures by it are refused',
    ],
  );
});

test('what is to be said of the key behind a published index', () => {
  const nowMs = 1000;
  const index = { repository: 'main/x86_64', signedBy: 'a.pub', signedKey: 'f1' };
  const key = { name: 'a.pub', pem: '', fingerprint: 'f1' };
  const state = (...keys: Parameters<typeof keyStateOf>[1] & object) => keyStateOf(index, keys, nowMs);
  assert.equal(state(key), 'valid');
  assert.equal(state(), 'removed');
  assert.equal(state({ ...key, name: 'b.pub' }), 'removed');
  assert.equal(state({ ...key, fingerprint: 'f2' }), 'replaced');
  assert.equal(state({ ...key, notAfterMs: 999 }), 'expired');
  assert.equal(state({ ...key, notBeforeMs: 1001 }), 'not-yet-valid');
  assert.equal(state({ ...key, maySign: ['edge/{arch}'] }), 'out-of-scope');
  assert.equal(state({ ...key, maySign: ['edge/{arch}'] }, { ...key, maySign: ['main/{arch}'] }), 'valid');
  assert.equal(keyStateOf(index, null, nowMs), 'no-inbox');
  assert.equal(
    keyStateOf({ repository: 'main/x86_64', signedBy: 'a.pub' }, [{ ...key, fingerprint: 'f2' }], nowMs),
    'valid',
  );
});
