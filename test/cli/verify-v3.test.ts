import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { createAdbSigningKey, makeAdbIndex } from '../../src/apk/make-adb.ts';
import { createSigningKey } from '../../src/apk/make.ts';
import { SampleRepository } from '../../src/cli/sample-builder.ts';
import { command } from '../../src/cli/verify.ts';
import { AdbRepository } from '../support/adb-repository.ts';
import { temporaryDirectory } from '../support/apk.ts';

const key = createAdbSigningKey('openwrt.pem');
const v2Key = createSigningKey('alpine.rsa.pub');

async function verdicts(...args: string[]): Promise<{ code: number; lines: [path: string, word: string][] }> {
  let out = '';
  const code = await command.run(['--json', ...args], {
    out: (text) => {
      out += text;
    },
    err: assert.fail,
    terminal: false,
    env: {},
    signal: new AbortController().signal,
  });
  const lines = out.trimEnd().split('\n');
  return {
    code,
    lines: lines.map((line) => {
      const {
        path,
        verdict,
        code: reason,
      } = JSON.parse(line) as { path: string; verdict: string; code: string | null };
      return [path.slice(path.lastIndexOf('x86_64/') + 7), reason ?? verdict];
    }),
  };
}

test('a directory with a v2 and a v3 index, and a v3 index with rules of its own', async (t) => {
  const directory = temporaryDirectory(t);
  const [keys, root] = [join(directory, 'keys'), join(directory, 'root')];
  mkdirSync(keys);
  writeFileSync(join(keys, key.name), key.publicPem);
  writeFileSync(join(keys, v2Key.name), v2Key.publicPem);
  const v2 = new SampleRepository('x86_64', v2Key);
  v2.set({ name: 'one', version: '1-r0', contentBytes: 100, seed: 1 });
  await v2.write(root);
  const v3 = new AdbRepository('x86_64', key, {
    indexFile: 'packages.adb',
    pkgnameSpec: 'pool/${name}-${version}.apk',
  });
  mkdirSync(join(root, 'x86_64/pool'));
  v3.set('one', '1-r0', 'v3');
  v3.set('two', '1-r0', 'v3 too');
  await v3.write(root);
  assert.deepEqual(await verdicts('--keys', keys, root), {
    code: 0,
    lines: [
      ['APKINDEX.tar.gz', 'accepted'],
      ['one-1-r0.apk', 'accepted'],
      ['packages.adb', 'accepted'],
      ['pool/one-1-r0.apk', 'accepted'],
      ['pool/two-1-r0.apk', 'accepted'],
    ],
  });

  copyFileSync(join(root, 'x86_64/one-1-r0.apk'), join(root, 'x86_64/pool/one-1-r0.apk'));
  rmSync(join(root, 'x86_64/pool/two-1-r0.apk'));
  copyFileSync(join(root, 'x86_64/packages.adb'), join(root, 'x86_64/APKINDEX.tar.gz'));
  assert.deepEqual(await verdicts('--keys', keys, root), {
    code: 4,
    lines: [
      ['APKINDEX.tar.gz', 'FORMAT_INDEX'],
      ['packages.adb', 'accepted'],
      ['pool/one-1-r0.apk', 'IDENTITY_MISMATCH'],
      ['pool/two-1-r0.apk', 'PACKAGE_MISSING'],
      ['one-1-r0.apk', 'accepted'],
    ],
  });
});

test('a v3 index under any name is known by its content', async (t) => {
  const directory = temporaryDirectory(t);
  mkdirSync(join(directory, 'keys'));
  writeFileSync(join(directory, 'keys', key.name), key.publicPem);
  const entry = {
    name: 'a',
    version: '1',
    arch: 'x86_64',
    identity: `sha256:${'00'.repeat(32)}`,
    size: 1,
    buildTime: null,
  };
  for (const compression of ['plain', 'deflate', 'zstd'] as const) {
    writeFileSync(join(directory, 'an index'), makeAdbIndex([entry], key, { compression }));
    const { code, lines } = await verdicts('--keys', join(directory, 'keys'), join(directory, 'an index'));
    assert.deepEqual([code, lines[0]?.[1]], [0, 'accepted'], compression);
  }
});
