import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { readHead } from '../../src/apk/head.ts';
import { createSigningKey, makeIndex, makePackage } from '../../src/apk/make.ts';
import { keyringOf as keyringFor } from '../../src/config/key-scope.ts';
import type { AlgorithmName } from '../../src/trust/algorithms.ts';
import type { Keyring, TrustedKey } from '../../src/trust/keyring.ts';
import { type SignaturePolicy, Verifier } from '../../src/trust/verify.ts';
import { keyringOf, temporaryDirectory, verifyIndexAt, verifyPackageAt, word } from '../support/apk.ts';

const key = createSigningKey('test.rsa.pub');
const other = createSigningKey('other.rsa.pub');
const stranger = createSigningKey('stranger.rsa.pub');
const made = makePackage({ name: 'foo', version: '1.0-r0', arch: 'x86_64', contentBytes: 300, seed: 1 }, key);
const nowMs = Date.parse('2026-11-22T18:00:00Z');
const second = 1000;

const trusted = (limits: Partial<TrustedKey> = {}): Keyring => ({
  keys: [{ name: key.name, pem: key.publicPem, ...limits }, ...keyringOf(other).keys],
});

/** What becomes of an index of `main/x86_64`. */
async function judgeIndex(t: TestContext, bytes: Buffer, keyring: Keyring, repository = 'main/x86_64') {
  const path = join(temporaryDirectory(t), 'APKINDEX.tar.gz');
  writeFileSync(path, bytes);
  await using verifier = new Verifier({ workers: 1 });
  const { verdict } = await verifyIndexAt(verifier, path, { keyring: keyringFor(keyring, repository, nowMs) });
  return [word(verdict), verdict.verdict === 'accepted' ? '' : verdict.detail];
}

/** The signature members of an index, and what they sign. */
function parts(index: Buffer): [signatures: Buffer, signed: Buffer] {
  const start = readHead(index)?.start ?? 0;
  return [index.subarray(0, start), index.subarray(start)];
}

test('a key counts from the first to the last instant of its validity, by the clock that is passed in', async (t) => {
  const index = makeIndex([made.entry], key);
  const says = (limits: Partial<TrustedKey>) => judgeIndex(t, index, trusted(limits));
  for (const within of [{ notBeforeMs: nowMs }, { notAfterMs: nowMs }, { notBeforeMs: 0, notAfterMs: nowMs + second }])
    assert.deepEqual(await says(within), ['accept', '']);
  assert.deepEqual(await says({ notAfterMs: nowMs - 1, path: '/keys/test.rsa.pub' }), [
    'SIG_UNTRUSTED',
    'the key test.rsa.pub expired at 2026-11-22T17:59:59Z (/keys/test.rsa.pub): sign with another key, or change its validity',
  ]);
  assert.deepEqual(await says({ notBeforeMs: nowMs + second }), [
    'SIG_UNTRUSTED',
    'the key test.rsa.pub is not valid before 2026-11-22T18:00:01Z',
  ]);
});

test('a key outside of its scope makes nothing trusted, and is named with what it may sign', async (t) => {
  const index = makeIndex([made.entry], key);
  const keyring = trusted({ maySign: ['staging/*/{arch}', 'main/x86_64'], path: '/keys/test.rsa.pub' });
  assert.deepEqual(await judgeIndex(t, index, keyring), ['accept', '']);
  assert.deepEqual(await judgeIndex(t, index, keyring, 'staging/7/x86_64'), ['accept', '']);
  assert.deepEqual(await judgeIndex(t, index, keyring, 'main/aarch64'), [
    'OUT_OF_SCOPE',
    'the key test.rsa.pub signed for main/aarch64, but may sign only staging/*/{arch}, main/x86_64 (/keys/test.rsa.pub)',
  ]);
});

test('a key that lies in two directories may sign what either of them allows', async (t) => {
  const index = makeIndex([made.entry], key);
  const { name, publicPem: pem } = key;
  const keyring = {
    keys: [
      { name, pem, maySign: ['edge/{arch}'] },
      { name, pem, maySign: ['main/{arch}'], notAfterMs: nowMs },
    ],
  };
  assert.deepEqual(await judgeIndex(t, index, keyring), ['accept', '']);
  assert.deepEqual(await judgeIndex(t, index, keyring, 'edge/x86_64'), ['accept', '']);
  assert.equal((await judgeIndex(t, index, keyring, 'v1/x86_64'))[0], 'OUT_OF_SCOPE');
});

test('algorithms that are not accepted are refused, SHA-1 among them', async (t) => {
  const says = async (algorithm: 'RSA' | 'RSA256' | 'RSA512', algorithms: readonly AlgorithmName[]) =>
    judgeIndex(t, makeIndex([made.entry], key, { algorithm }), { ...trusted(), algorithms });
  assert.deepEqual(await says('RSA', ['RSA256', 'RSA512']), [
    'SIG_ALGORITHM',
    'the signature by test.rsa.pub is RSA, accepted are RSA256, RSA512',
  ]);
  assert.deepEqual(await says('RSA256', ['RSA256', 'RSA512']), ['accept', '']);
  assert.deepEqual(await says('RSA512', ['RSA256', 'RSA512']), ['accept', '']);
  assert.equal((await says('RSA512', ['RSA', 'RSA256']))[0], 'SIG_ALGORITHM');
});

test('the signature that clients look at is judged: a better one behind it does not count', async (t) => {
  const [bySha1, signed] = parts(makeIndex([made.entry], key));
  const [bySha256] = parts(makeIndex([made.entry], other, { algorithm: 'RSA256' }));
  const [byStranger] = parts(makeIndex([made.entry], stranger));
  const strict = (keyring: Keyring): Keyring => ({ ...keyring, algorithms: ['RSA256'] });
  const says = async (keyring: Keyring, ...members: Buffer[]) =>
    (await judgeIndex(t, Buffer.concat([...members, signed]), keyring))[0];
  assert.equal(await says(trusted(), bySha1, bySha256), 'accept');
  assert.equal(await says(strict(trusted()), bySha1, bySha256), 'SIG_ALGORITHM');
  assert.equal(await says(strict(trusted()), bySha256, bySha1), 'accept');
  assert.equal(await says(trusted({ notAfterMs: 0 }), bySha1, bySha256), 'SIG_UNTRUSTED');
  assert.equal(await says(trusted({ maySign: ['edge/{arch}'] }), bySha1, bySha256), 'OUT_OF_SCOPE');
  // Clients do not know this one, so they pass over it.
  assert.equal(await says(strict(trusted()), byStranger, bySha256), 'accept');
});

test('scope, validity and algorithms count for packages as their policy asks', async (t) => {
  const directory = temporaryDirectory(t);
  const path = join(directory, made.file);
  writeFileSync(path, made.bytes);
  await using verifier = new Verifier({ workers: 1 });
  const says = async (keyring: Keyring, packageSignatures: SignaturePolicy, listed = true) => {
    const settings = { keyring: keyringFor(keyring, 'main/x86_64', nowMs), entry: listed ? made.entry : null };
    const verdict = await verifyPackageAt(verifier, path, { ...settings, packageSignatures });
    return verdict.verdict === 'accepted' ? `by ${verdict.package.signedBy ?? 'nobody'}` : verdict.code;
  };
  const cases: [Keyring, require: string, ifPresent: string, alone: string][] = [
    [trusted(), 'by test.rsa.pub', 'by test.rsa.pub', 'by test.rsa.pub'],
    [trusted({ notAfterMs: 0 }), 'SIG_UNTRUSTED', 'by nobody', 'SIG_UNTRUSTED'],
    [trusted({ notBeforeMs: nowMs + 1 }), 'SIG_UNTRUSTED', 'by nobody', 'SIG_UNTRUSTED'],
    [trusted({ maySign: ['edge/{arch}'] }), 'OUT_OF_SCOPE', 'by nobody', 'OUT_OF_SCOPE'],
    [{ ...trusted(), algorithms: ['RSA256'] }, 'SIG_ALGORITHM', 'SIG_ALGORITHM', 'SIG_ALGORITHM'],
  ];
  for (const [keyring, required, ifPresent, alone] of cases) {
    assert.equal(await says(keyring, 'require'), required);
    assert.equal(await says(keyring, 'if-present'), ifPresent);
    assert.equal(await says(keyring, 'if-present', false), alone);
    assert.equal(await says(keyring, 'ignore'), 'by nobody');
  }
});
