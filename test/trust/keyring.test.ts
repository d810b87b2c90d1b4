import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { createSigningKey } from '../../src/apk/make.ts';
import { loadKeyring } from '../../src/trust/keyring.ts';
import { temporaryDirectory } from '../support/apk.ts';

const one = createSigningKey('one.rsa.pub', { bits: 1024 });
const two = createSigningKey('two.rsa.pub', { bits: 1024 });

test('a keyring has the public keys directly inside its directories, under their file names', async (t) => {
  const [a, b] = [join(temporaryDirectory(t), 'a'), join(temporaryDirectory(t), 'b')];
  for (const directory of [a, b]) mkdirSync(directory);
  writeFileSync(join(a, 'one.rsa.pub'), one.publicPem);
  writeFileSync(join(a, '.hidden.rsa.pub'), 'no key');
  writeFileSync(join(a, 'README'), 'no key');
  mkdirSync(join(a, 'directory.pub'));
  writeFileSync(join(b, 'two.rsa.pub'), two.publicPem);
  writeFileSync(join(b, 'one.rsa.pub'), one.publicPem);
  assert.deepEqual(await loadKeyring([a, b]), {
    keys: [
      { name: 'one.rsa.pub', pem: one.publicPem },
      { name: 'two.rsa.pub', pem: two.publicPem },
    ],
  });
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
