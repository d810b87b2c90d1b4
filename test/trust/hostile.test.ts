import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import test, { type TestContext } from 'node:test';
import { packageFileName } from '../../src/apk/entry.ts';
import { loadKeyring } from '../../src/trust/keyring.ts';
import { Verifier } from '../../src/trust/verify.ts';
import { verifyIndexAt, verifyPackageAt, word } from '../support/apk.ts';

const hostile = resolve(import.meta.dirname, '../../../shared/data/hostile');

function rows(prefix: string): { readonly id: string; readonly input: string; readonly expected: string }[] {
  const lines = readFileSync(join(hostile, 'expected.tsv'), 'utf8').trimEnd().split('\n');
  return lines
    .map((line) => line.split('\t'))
    .filter(([id = '']) => id.startsWith(prefix) && /^.\d/.test(id))
    .map(([id = '', input = '', expected = '']) => ({ id, input, expected }));
}

async function present(t: TestContext): Promise<boolean> {
  if (existsSync(hostile)) return true;
  t.skip('../shared/data/hostile absent');
  return false;
}

test('hostile packages that stand alone', async (t) => {
  if (!(await present(t))) return;
  const keyring = await loadKeyring([join(hostile, 'keys')]);
  await using verifier = new Verifier({ workers: 2 });
  for (const { id, input, expected } of rows('p')) {
    await t.test(`${id}: ${input}`, async () => {
      const path = join(hostile, 'pkg', `${id}.apk`);
      const strict = await verifyPackageAt(verifier, path, { keyring });
      assert.equal(word(strict), expected.replace(' (by policy)', ''));
      if (!expected.endsWith('(by policy)')) return;
      // Alone, a package without a trusted signature is as little worth under if-present; ignore is the operator's word.
      assert.equal(
        word(await verifyPackageAt(verifier, path, { keyring, packageSignatures: 'if-present' })),
        'SIG_UNTRUSTED',
      );
      assert.equal(word(await verifyPackageAt(verifier, path, { keyring, packageSignatures: 'ignore' })), 'accept');
    });
  }
});

test('hostile indexes and the packages behind them', async (t) => {
  if (!(await present(t))) return;
  const keyring = await loadKeyring([join(hostile, 'keys')]);
  await using verifier = new Verifier({ workers: 2 });
  const repository = async (id: string, packageSignatures: 'require' | 'if-present'): Promise<string> => {
    const directory = join(hostile, 'ndx', id, 'repo/x86_64');
    const { verdict, entries } = await verifyIndexAt(verifier, join(directory, 'APKINDEX.tar.gz'), {
      keyring,
      arch: 'x86_64',
    });
    if (verdict.verdict === 'held') return `${verdict.code} (hold)`;
    if (verdict.verdict !== 'accepted') return verdict.code;
    for (const entry of entries) {
      const path = join(directory, packageFileName(entry));
      if (!existsSync(path)) return 'PACKAGE_MISSING';
      const found = word(
        await verifyPackageAt(verifier, path, { keyring, entry, packageSignatures, explainSize: true }),
      );
      if (found !== 'accept') return found;
    }
    return verdict.warning === undefined ? 'accept' : `${verdict.warning.code} (warn)`;
  };
  for (const { id, input, expected } of rows('i')) {
    await t.test(`${id}: ${input}`, async () => {
      assert.equal(await repository(id, 'require'), expected.replace(' (by policy)', ''));
      if (expected.endsWith('(by policy)')) assert.equal(await repository(id, 'if-present'), 'accept');
    });
  }
});

test('hostile v3 packages that stand alone', async (t) => {
  if (!(await present(t))) return;
  const keyring = await loadKeyring([join(hostile, 'v3keys')]);
  await using verifier = new Verifier({ workers: 2 });
  for (const { id, input, expected } of rows('v')) {
    await t.test(`${id}: ${input}`, async () => {
      const path = join(hostile, 'v3', `${id}.apk`);
      assert.ok(expected.split(' or ').includes(word(await verifyPackageAt(verifier, path, { keyring }))), expected);
      assert.notEqual(word((await verifyIndexAt(verifier, path, { keyring })).verdict), 'accept');
    });
  }
});
