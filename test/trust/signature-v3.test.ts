import assert from 'node:assert/strict';
import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import {
  type AdbSigningKey,
  block,
  createAdbSigningKey,
  fileHeader,
  indexPayload,
  makeAdbPackage,
  signatureBlock,
} from '../../src/apk/make-adb.ts';
import type { Keyring, TrustedKey } from '../../src/trust/keyring.ts';
import { type PackageSigner, readPackageSigner } from '../../src/trust/package-signer.ts';
import { Verifier } from '../../src/trust/verify.ts';
import { temporaryDirectory, verifyIndexAt, verifyPackageBytes, word } from '../support/apk.ts';

const [good, other, rsa] = [
  createAdbSigningKey('good.pem'),
  createAdbSigningKey('other.pem'),
  createAdbSigningKey('builder.rsa.pub', 'rsa'),
];
const spec = {
  name: 'foo',
  version: '1.0-r0',
  arch: 'x86_64',
  files: { usr: [{ name: 'foo', content: Buffer.alloc(300_000, 'lockstep') }] },
};
const refusal = { code: 'OUT_OF_SCOPE', detail: 'other.pem may sign only staging' } as const;

function trust(...keys: readonly (AdbSigningKey & Pick<TrustedKey, 'refusal'>)[]): Keyring {
  return { keys: keys.map(({ name, publicPem: pem, refusal: why }) => ({ name, pem, ...(why && { refusal: why }) })) };
}

async function indexVerdict(t: TestContext, signers: readonly AdbSigningKey[], keyring: Keyring): Promise<string> {
  const path = join(temporaryDirectory(t), 'Packages.adb');
  const payload = indexPayload([makeAdbPackage(spec, []).entry]);
  const signatures = signers.map((signer) => signatureBlock('indx', payload, signer));
  await writeFile(path, Buffer.concat([fileHeader('indx'), block('adb', payload), ...signatures]));
  await using verifier = new Verifier({ workers: 1 });
  const { verdict } = await verifyIndexAt(verifier, path, { keyring, fileName: 'Packages.adb' });
  return word(verdict);
}

test('an index by a key that does not count has the reason of that; one more signature that counts is enough', async (t) => {
  const keyring = trust(good, { ...other, refusal });
  assert.equal(await indexVerdict(t, [good], keyring), 'accept');
  assert.equal(await indexVerdict(t, [other], keyring), 'OUT_OF_SCOPE');
  assert.equal(await indexVerdict(t, [other, good], keyring), 'accept');
});

test('an index by an algorithm that is not accepted is refused', async (t) => {
  for (const [signer, algorithm, elsewhere] of [
    [good, 'ECDSA', 'RSA512'],
    [rsa, 'RSA512', 'ECDSA'],
  ] as const) {
    const keyring = trust(good, rsa);
    assert.equal(await indexVerdict(t, [signer], { ...keyring, algorithms: [algorithm] }), 'accept');
    assert.equal(await indexVerdict(t, [signer], { ...keyring, algorithms: ['RSA256', elsewhere] }), 'SIG_ALGORITHM');
  }
});

test('a package behind its index may be signed by a key that does not count, not by one that must not be used so', async (t) => {
  const directory = temporaryDirectory(t);
  await using verifier = new Verifier({ workers: 1 });
  const { bytes, entry } = makeAdbPackage(spec, [other]);
  const verdict = async (keyring: Keyring, packageSignatures: 'if-present' | 'require'): Promise<string> =>
    word(await verifyPackageBytes(verifier, directory, bytes, { keyring, entry, packageSignatures }));
  const refused = trust(good, { ...other, refusal });
  assert.equal(await verdict(refused, 'if-present'), 'accept');
  assert.equal(await verdict(refused, 'require'), 'OUT_OF_SCOPE');
  const algorithms: Keyring = { ...trust(other), algorithms: ['RSA512'] };
  assert.equal(await verdict(algorithms, 'if-present'), 'SIG_ALGORITHM');
});

test('who signed a v3 package is read from its beginning', async (t) => {
  const directory = temporaryDirectory(t);
  const keyring = trust(good, { ...other, refusal });
  const signerOf = async (bytes: Buffer): Promise<PackageSigner> => {
    const path = join(directory, 'package.apk');
    await writeFile(path, bytes);
    await using file = await open(path);
    return await readPackageSigner(file, keyring);
  };
  for (const compression of ['plain', 'deflate', 'zstd'] as const) {
    const made = (signers: readonly AdbSigningKey[]): Buffer => makeAdbPackage({ ...spec, compression }, signers).bytes;
    assert.deepEqual(await signerOf(made([good])), { key: 'good.pem', code: null });
    assert.equal((await signerOf(made([other]))).code, 'OUT_OF_SCOPE');
    assert.equal((await signerOf(made([rsa]))).code, 'SIG_UNTRUSTED');
    assert.deepEqual(await signerOf(made([])), { key: null, code: 'SIG_UNTRUSTED' });
  }
});
