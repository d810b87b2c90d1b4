import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync, hash, type KeyObject } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import test from 'node:test';
import { createSigningKey } from '../../src/apk/make.ts';
import { loadKeyring, readKeyring } from '../../src/trust/keyring.ts';
import { publicKeyFacts } from '../../src/trust/public-key.ts';
import { keyringAt } from '../../src/trust/standing.ts';
import { temporaryDirectory } from '../support/apk.ts';

const one = createSigningKey('one.rsa.pub');
const two = createSigningKey('two.rsa.pub');

test('a keyring has the public keys directly inside its directories, under their file names', async (t) => {
  const [a, b] = [join(temporaryDirectory(t), 'a'), join(temporaryDirectory(t), 'b')];
  for (const directory of [a, b]) mkdirSync(directory);
  writeFileSync(join(a, 'one.rsa.pub'), one.publicPem);
  writeFileSync(join(a, '.hidden.rsa.pub'), 'no key');
  writeFileSync(join(a, 'README'), 'no key');
  mkdirSync(join(a, 'directory.pub'));
  writeFileSync(join(b, 'two.rsa.pub'), two.publicPem);
  writeFileSync(join(b, 'one.rsa.pub'), one.publicPem);
  const keyring = await loadKeyring([a, b]);
  assert.deepEqual(keyring, {
    keys: [
      { name: 'one.rsa.pub', pem: one.publicPem, path: join(a, 'one.rsa.pub') },
      { name: 'one.rsa.pub', pem: one.publicPem, path: join(b, 'one.rsa.pub') },
      { name: 'two.rsa.pub', pem: two.publicPem, path: join(b, 'two.rsa.pub') },
    ],
  });
  assert.deepEqual(
    keyringAt(keyring, { nowMs: 0, scope: null }).keys.map((key) => key.path),
    [join(a, 'one.rsa.pub'), join(b, 'two.rsa.pub')],
    'in use each name is there once',
  );
});

test('a sidecar that is a link to nowhere is no missing one: its key is not used', async (t) => {
  const directory = temporaryDirectory(t);
  for (const key of [one, two]) writeFileSync(join(directory, key.name), key.publicPem);
  symlinkSync('moved/one.validity', join(directory, 'one.rsa.pub.validity'));
  const { keyring, faults } = await readKeyring([{ directory, maySign: null }]);
  assert.deepEqual(
    keyring.keys.map((key) => key.name),
    ['two.rsa.pub'],
  );
  assert.deepEqual(
    faults.map((fault) => fault.path),
    [join(directory, 'one.rsa.pub.validity')],
  );
});

test('a keyring that cannot be meant so is refused with the name of what is wrong', async (t) => {
  const directory = temporaryDirectory(t);
  const refuse = async (directories: string[], message: RegExp): Promise<void> => {
    await assert.rejects(loadKeyring(directories), message);
  };
  await refuse([directory], /no key in it: put the public keys/);
  await refuse([join(directory, 'absent')], /absent: the key directory cannot be read: ENOENT/);
  const file = join(directory, 'a.rsa.pub');
  writeFileSync(file, 'not a key');
  await refuse([directory], /a\.rsa\.pub: no usable public key: expected a line "-----BEGIN PUBLIC KEY-----"/);
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 1024 });
  writeFileSync(file, privateKey.export({ type: 'pkcs8', format: 'pem' }));
  await refuse([directory], /no usable public key/);
  writeFileSync(file, '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n');
  await refuse([directory], /no usable public key/);
  writeFileSync(file, Buffer.alloc(100_000, 0x20));
  await refuse([directory], /it has 100000 bytes/);
});

test('two different keys of one name are refused: which of them signs would be chance', async (t) => {
  const [a, b] = [temporaryDirectory(t), temporaryDirectory(t)];
  writeFileSync(join(a, 'x.rsa.pub'), one.publicPem);
  writeFileSync(join(b, 'x.rsa.pub'), two.publicPem);
  await assert.rejects(loadKeyring([a, b]), /x\.rsa\.pub: another key of this name/);
});

const pemOf = (key: KeyObject): string => key.export({ type: 'spki', format: 'pem' }).toString();

test('a key that is too weak, or of a kind that apk cannot use, is refused with the reason', async (t) => {
  const directory = temporaryDirectory(t);
  const refused = async (pem: string): Promise<string> => {
    writeFileSync(join(directory, 'a.pub'), pem);
    const { keyring, faults } = await readKeyring([{ directory, maySign: null }]);
    assert.deepEqual(keyring.keys, []);
    return (faults[0]?.message ?? '').replace(/^no usable public key: (.*): put a PEM.*$/, '$1');
  };
  const rsa = (modulusLength: number, publicExponent = 65_537): string =>
    pemOf(generateKeyPairSync('rsa', { modulusLength, publicExponent }).publicKey);
  const short = 'expected at least 2048: shorter ones can be broken';
  assert.equal(await refused(rsa(1024)), `an RSA key of 1024 bits, ${short}`);
  assert.equal(await refused(rsa(2047)), `an RSA key of 2047 bits, ${short}`);
  const ed25519 = pemOf(generateKeyPairSync('ed25519').publicKey);
  assert.equal(await refused(ed25519), 'an ed25519 key, which apk cannot load, expected RSA or EC');
  const dsa = pemOf(generateKeyPairSync('dsa', { modulusLength: 2048, divisorLength: 256 }).publicKey);
  assert.equal(await refused(dsa), 'a DSA key, which apk uses with SHA-1 only, expected RSA or EC');
  const bitcoin = pemOf(generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey);
  assert.equal(await refused(bitcoin), 'an EC key on the curve secp256k1, expected P-256, P-384 or P-521');
  const pss = pemOf(generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).publicKey);
  assert.equal(await refused(pss), 'a key of the kind rsa-pss, expected RSA or EC');
  // With e = 1 every number is its own signature.
  const jwk = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey.export({ format: 'jwk' });
  const forgeable = pemOf(createPublicKey({ format: 'jwk', key: { ...jwk, e: 'AQ' } }));
  assert.equal(await refused(forgeable), 'an RSA key with the public exponent 1, expected 65537');
  for (const namedCurve of ['P-256', 'P-384', 'P-521']) {
    writeFileSync(join(directory, 'a.pub'), pemOf(generateKeyPairSync('ec', { namedCurve }).publicKey));
    assert.equal((await loadKeyring([directory])).keys.length, 1, namedCurve);
  }
});

test('one bad file takes no good key away, and a bad sidecar takes its key away', async (t) => {
  const directory = temporaryDirectory(t);
  for (const name of ['good.rsa.pub', 'limited.rsa.pub', 'doubtful.rsa.pub'])
    writeFileSync(join(directory, name), one.publicPem);
  writeFileSync(join(directory, 'bad.rsa.pub'), 'half a k');
  writeFileSync(join(directory, 'limited.rsa.pub.validity'), '# until the move\nnot_after = 2027-12-31\n');
  writeFileSync(join(directory, 'doubtful.rsa.pub.validity'), 'until = next year\n');
  writeFileSync(join(directory, 'gone.rsa.pub.validity'), 'not_after = 2027-12-31\n');
  const { keyring, faults, orphans } = await readKeyring([{ directory, maySign: ['main/{arch}'] }]);
  assert.deepEqual(
    keyring.keys.map(({ name, notAfterMs, maySign }) => [name, notAfterMs, maySign]),
    [
      ['good.rsa.pub', undefined, ['main/{arch}']],
      ['limited.rsa.pub', Date.parse('2027-12-31T23:59:59.999Z'), ['main/{arch}']],
    ],
  );
  assert.deepEqual(
    faults.map(({ path, message }) => `${path.slice(directory.length + 1)}: ${message}`),
    [
      'bad.rsa.pub: no usable public key: expected a line "-----BEGIN PUBLIC KEY-----": put a PEM public key there or remove the file',
      'doubtful.rsa.pub.validity: the key beside it is not used: line 1 is not understood, expected lines such as "not_after = 2027-12-31" or "not_before = 2026-01-01T12:00:00Z": mend or remove the file',
    ],
  );
  assert.deepEqual(orphans, [join(directory, 'gone.rsa.pub.validity')]);
  await assert.rejects(loadKeyring([directory]), /bad\.rsa\.pub: no usable public key/);
});

test('of two different keys of one name neither is used while the daemon runs', async (t) => {
  const [a, b] = [temporaryDirectory(t), temporaryDirectory(t)];
  writeFileSync(join(a, 'x.rsa.pub'), one.publicPem);
  writeFileSync(join(a, 'y.rsa.pub'), one.publicPem);
  writeFileSync(join(b, 'x.rsa.pub'), two.publicPem);
  const sources = [a, b].map((directory) => ({ directory, maySign: null }));
  const { keyring, faults } = await readKeyring(sources);
  assert.deepEqual(
    keyring.keys.map((key) => key.name),
    ['y.rsa.pub'],
  );
  assert.deepEqual(
    faults.map((fault) => fault.path),
    [join(b, 'x.rsa.pub')],
  );
});

test('the digests of a key are those of its DER and of real v3 files', (t) => {
  const der = Buffer.from(one.publicPem.replace(/-----.*-----/g, ''), 'base64');
  const { type, bits, fingerprint } = publicKeyFacts(one.publicPem);
  assert.deepEqual([type, bits, fingerprint], ['RSA', 2048, hash('sha256', der, 'hex')]);
  const hostile = resolve(import.meta.dirname, '../../../shared/data/hostile');
  if (!existsSync(hostile)) return t.skip('../shared/data/hostile absent');
  // A signature block begins with two bytes of versions, then the key id.
  const file3 = readFileSync(join(hostile, 'v3/v00-good-uncompressed.apk'));
  const ids = ['ec.pub', 'rsa.pub'].map(
    (name) => publicKeyFacts(readFileSync(join(hostile, 'v3keys', name), 'utf8')).keyId,
  );
  assert.ok(
    ids.some((id) => file3.includes(Buffer.from(id, 'hex'))),
    'one of the two keys is named in the file',
  );
});
