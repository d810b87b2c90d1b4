import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { readdir, realpath } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import test from 'node:test';
import { packageFileName } from '../../src/apk/entry.ts';
import { type Keyring, loadKeyring } from '../../src/trust/keyring.ts';
import { Verifier } from '../../src/trust/verify.ts';
import { temporaryDirectory, verifyIndexAt, verifyPackageAt, word } from '../support/apk.ts';
import { hasPmos2017, materialisePmos2017, pmos2017Arches } from '../support/apk-pmos2017.ts';

test('the repository of 2017: indexes verify, every package that is there matches, the missing ones are known', async (t) => {
  if (!hasPmos2017()) return t.skip('../shared/data/pmos2017 absent');
  const directory = temporaryDirectory(t);
  await materialisePmos2017(directory);
  const keyring = await loadKeyring([join(directory, 'keys')]);
  await using verifier = new Verifier({ workers: 2 });
  const counts: Record<string, [listed: number, accepted: number, missing: number]> = {};
  for (const arch of pmos2017Arches) {
    const { verdict, entries } = await verifyIndexAt(verifier, join(directory, arch, 'APKINDEX.tar.gz'), {
      keyring,
      arch,
    });
    assert.equal(word(verdict), 'accept', arch);
    let [accepted, missing] = [0, 0];
    for (const entry of entries) {
      const path = await realpath(join(directory, arch, packageFileName(entry))).catch(() => '');
      if (path === '') {
        missing += 1;
        continue;
      }
      assert.equal(word(await verifyPackageAt(verifier, path, { keyring, entry })), 'accept', path);
      accepted += 1;
    }
    counts[arch] = [entries.length, accepted, missing];
  }
  assert.deepEqual(counts, { aarch64: [81, 78, 3], armhf: [106, 93, 13], x86_64: [139, 130, 9] });
});

const samples = resolve(import.meta.dirname, '../../../shared/data/samples');

/** Every key of the samples together, as the verdicts were taken; the two melange.rsa.pub of the world collide, one is here. */
async function everyKey(): Promise<Keyring> {
  const names = await readdir(samples, { recursive: true });
  const directories = new Set(
    names.filter((name) => /\.(?:pub|pem)$/.test(name)).map((name) => dirname(join(samples, name))),
  );
  return loadKeyring([...directories]);
}

test('real files of several distributions get the verdicts of apk', async (t) => {
  if (!existsSync(samples)) return t.skip('../shared/data/samples absent');
  const keyring = await everyKey();
  await using verifier = new Verifier({ workers: 2 });
  const words: Record<string, string> = {
    OK: 'accept',
    'UNTRUSTED signature': 'SIG_UNTRUSTED',
    'BAD signature': 'SIG_BAD',
  };
  const lines = readFileSync(join(samples, 'verdicts.tsv'), 'utf8').trimEnd().split('\n');
  let seen = 0;
  for (const [path = '', verdict = ''] of lines.map((line) => line.split('\t'))) {
    const expected = words[verdict];
    assert.ok(expected !== undefined, `${path}: a verdict that this test knows: ${verdict}`);
    const file = join(samples, path);
    const found = /^APKINDEX|\.adb$/.test(basename(path))
      ? (await verifyIndexAt(verifier, file, { keyring })).verdict
      : await verifyPackageAt(verifier, file, { keyring });
    assert.equal(word(found), expected, path);
    seen += 1;
  }
  assert.ok(seen > 65, `only ${seen} files seen`);
});

test('the v3 feeds of OpenWrt: each index names its packages by what they are', async (t) => {
  if (!existsSync(samples)) return t.skip('../shared/data/samples absent');
  await using verifier = new Verifier({ workers: 2 });
  let matched = 0;
  for (const feed of ['melmac', 'mossdef']) {
    const directory = join(samples, 'openwrt-v3', feed);
    const keyring = await loadKeyring([directory]);
    const { verdict, entries } = await verifyIndexAt(verifier, join(directory, 'packages.adb'), {
      keyring,
      fileName: 'packages.adb',
    });
    assert.equal(word(verdict), 'accept');
    for (const [n, entry] of entries.entries()) {
      const path = join(directory, packageFileName(entry));
      if (!existsSync(path)) continue;
      assert.equal(word(await verifyPackageAt(verifier, path, { keyring, entry })), 'accept', path);
      matched += 1;
      const other = entries.at(n - 1);
      if (other) {
        const confused = await verifyPackageAt(verifier, path, { keyring, entry: { ...other, size: entry.size } });
        assert.equal(word(confused), 'CONTROL_MISMATCH', path);
      }
    }
  }
  assert.equal(matched, 28);
});
