import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import test from 'node:test';
import { createSigningKey, makeIndex, makePackage } from '../../src/apk/make.ts';
import { command } from '../../src/cli/verify.ts';
import { UsageError } from '../../src/errors.ts';
import { temporaryDirectory } from '../support/apk.ts';
import { hasPmos2017, materialisePmos2017 } from '../support/apk-pmos2017.ts';

const key = createSigningKey('test.rsa.pub');
const stranger = createSigningKey('stranger.rsa.pub');

async function run(...args: string[]): Promise<{ code: number; out: string[]; err: string }> {
  let [out, err] = ['', ''];
  const code = await command.run(args, {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    terminal: false,
    env: {},
    signal: new AbortController().signal,
  });
  return { code, out: out.trimEnd().split('\n'), err };
}

/** A directory with a repository of two packages, and the keys beside it. */
function repository(directory: string): { keys: string; root: string; arch: string } {
  const [keys, root, arch] = [join(directory, 'keys'), join(directory, 'root'), join(directory, 'root/x86_64')];
  for (const made of [keys, root, arch]) mkdirSync(made);
  writeFileSync(join(keys, key.name), key.publicPem);
  const packages = ['one', 'two'].map((name, seed) =>
    makePackage({ name, version: '1-r0', arch: 'x86_64', contentBytes: 100, seed }, key),
  );
  for (const made of packages) writeFileSync(join(arch, made.file), made.bytes);
  writeFileSync(
    join(arch, 'APKINDEX.tar.gz'),
    makeIndex(
      packages.map((made) => made.entry),
      key,
    ),
  );
  return { keys, root, arch };
}

test('a sound repository: index first, then its packages, then a summary; exit 0', async (t) => {
  const { keys, root, arch } = repository(temporaryDirectory(t));
  assert.deepEqual(await run('--keys', keys, root), {
    code: 0,
    out: [
      `accepted ${arch}/APKINDEX.tar.gz`,
      `accepted ${arch}/one-1-r0.apk`,
      `accepted ${arch}/two-1-r0.apk`,
      '3 accepted, 0 rejected, 0 held',
    ],
    err: '',
  });
});

test('missing, damaged and unlisted packages each get their line; exit 4', async (t) => {
  const { keys, root, arch } = repository(temporaryDirectory(t));
  const other = makePackage({ name: 'one', version: '1-r0', arch: 'x86_64', contentBytes: 100, seed: 9 }, key);
  writeFileSync(join(arch, 'one-1-r0.apk'), other.bytes);
  const extra = makePackage({ name: 'extra', version: '1-r0', arch: 'x86_64', contentBytes: 100, seed: 9 }, stranger);
  writeFileSync(join(arch, extra.file), extra.bytes);
  const index = join(arch, 'APKINDEX.tar.gz');
  const { entry } = makePackage({ name: 'gone', version: '2-r0', arch: 'x86_64', contentBytes: 1, seed: 1 }, key);
  const { entry: one } = makePackage({ name: 'one', version: '1-r0', arch: 'x86_64', contentBytes: 100, seed: 0 }, key);
  writeFileSync(index, makeIndex([entry, one], key));
  const { code, out } = await run('--json', '--keys', keys, root);
  assert.equal(code, 4);
  const lines = out.map(
    (line) => JSON.parse(line) as { path: string; verdict: string; code: string | null; detail: string },
  );
  assert.deepEqual(
    lines.map((line) => [line.path.slice(arch.length + 1), line.verdict, line.code]),
    [
      ['APKINDEX.tar.gz', 'accepted', null],
      ['gone-2-r0.apk', 'rejected', 'PACKAGE_MISSING'],
      ['one-1-r0.apk', 'rejected', 'CONTROL_MISMATCH'],
      ['extra-1-r0.apk', 'rejected', 'SIG_UNTRUSTED'],
      ['two-1-r0.apk', 'accepted', null],
    ],
  );
  for (const line of lines) assert.deepEqual(Object.keys(line), ['path', 'verdict', 'code', 'detail']);
});

test('an index that cannot be believed says nothing about packages', async (t) => {
  const { keys, root, arch } = repository(temporaryDirectory(t));
  writeFileSync(join(arch, 'APKINDEX.tar.gz'), makeIndex([], key));
  const { code, out } = await run('--keys', keys, root);
  assert.equal(code, 4);
  assert.equal(out[0], `held ${arch}/APKINDEX.tar.gz INDEX_EMPTY the index names no package`);
  assert.equal(out.at(-1), '2 accepted, 0 rejected, 1 held');
});

test('an index in a directory named like an architecture must be for it', async (t) => {
  const { keys, root, arch } = repository(temporaryDirectory(t));
  mkdirSync(join(root, 'armhf'));
  copyFileSync(join(arch, 'APKINDEX.tar.gz'), join(root, 'armhf/APKINDEX.tar.gz'));
  const { code, out } = await run('--keys', keys, join(root, 'armhf'), join(root, 'armhf/APKINDEX.tar.gz'));
  assert.equal(code, 4);
  assert.match(out[0] ?? '', /^rejected .*armhf\/APKINDEX.tar.gz INDEX_ARCH .*expected armhf, got "x86_64"$/);
  assert.match(out[1] ?? '', /INDEX_ARCH/);
});

test('symlinks are followed inside of the given path and not out of it', async (t) => {
  const directory = temporaryDirectory(t);
  const { keys, root, arch } = repository(directory);
  writeFileSync(join(directory, 'outside.apk'), 'x');
  symlinkSync('one-1-r0.apk', join(arch, 'inside.apk'));
  symlinkSync('../../outside.apk', join(arch, 'leaves.apk'));
  symlinkSync('nowhere', join(arch, 'dangles.apk'));
  symlinkSync('..', join(arch, 'loop'));
  const { code, out } = await run('--keys', keys, root);
  assert.equal(code, 4);
  assert.deepEqual(out.slice(3, -1), [
    `rejected ${arch}/dangles.apk NOT_REGULAR a symlink that leads to nothing: ENOENT`,
    `accepted ${arch}/inside.apk`,
    `rejected ${arch}/leaves.apk NOT_REGULAR a symlink that leads out of the directory`,
  ]);
});

test('files are known by name, others by content; names are made safe for a terminal', async (t) => {
  const directory = temporaryDirectory(t);
  const { keys, arch } = repository(directory);
  copyFileSync(join(arch, 'APKINDEX.tar.gz'), join(directory, 'an index'));
  copyFileSync(join(arch, 'one-1-r0.apk'), join(directory, 'a\u001b[31m package'));
  const { code, out } = await run('--keys', keys, join(directory, 'an index'), join(directory, 'a\u001b[31m package'));
  assert.equal(code, 0);
  assert.deepEqual(out.slice(0, 2), [`accepted ${directory}/an index`, `accepted ${directory}/a\\u{1b}[31m package`]);
});

test('the signature policy is the operator’s', async (t) => {
  const directory = temporaryDirectory(t);
  const { keys } = repository(directory);
  const path = join(directory, 'unsigned.apk');
  writeFileSync(
    path,
    makePackage({ name: 'foo', version: '1', arch: 'x86_64', contentBytes: 10, seed: 1 }, null).bytes,
  );
  assert.equal((await run('--keys', keys, path)).code, 4);
  assert.equal((await run('--keys', keys, '--package-signatures', 'ignore', path)).code, 0);
});

test('the accepted algorithms are the operator’s', async (t) => {
  const { keys, root, arch } = repository(temporaryDirectory(t));
  const first = async (...args: string[]) => (await run('--keys', keys, ...args, root)).out[0];
  assert.equal(
    await first('--signature-algorithms', 'RSA256,RSA512'),
    `rejected ${arch}/APKINDEX.tar.gz SIG_ALGORITHM the signature by test.rsa.pub is RSA, accepted are RSA256, RSA512`,
  );
  assert.equal(await first('--signature-algorithms', 'RSA256, RSA'), `accepted ${arch}/APKINDEX.tar.gz`);
  const twice = ['--signature-algorithms', 'RSA256', '--signature-algorithms', 'RSA'];
  assert.equal(await first(...twice), `accepted ${arch}/APKINDEX.tar.gz`);
});

test('the validity beside a key counts', async (t) => {
  const { keys, root, arch } = repository(temporaryDirectory(t));
  writeFileSync(join(keys, `${key.name}.validity`), 'not_after = 2020-12-31\n');
  const { code, out } = await run('--keys', keys, root);
  assert.equal(code, 4);
  assert.equal(
    out[0],
    `rejected ${arch}/APKINDEX.tar.gz SIG_UNTRUSTED the key test.rsa.pub expired at 2020-12-31T23:59:59Z (${keys}/test.rsa.pub): sign with another key, or change its validity`,
  );
});

test('an unreadable path is told and does not hide the others', async (t) => {
  const { keys, arch } = repository(temporaryDirectory(t));
  const { code, out, err } = await run('--keys', keys, '/nonexistent', join(arch, 'one-1-r0.apk'));
  assert.equal(code, 1);
  assert.equal(out[0], `accepted ${arch}/one-1-r0.apk`);
  assert.match(err, /^lockstepd: verify: \/nonexistent: ENOENT/);
});

test('wrong usage says what to do', async (t) => {
  const { keys } = repository(temporaryDirectory(t));
  const refuse = async (args: string[], message: RegExp): Promise<void> => {
    await assert.rejects(run(...args), (error) => error instanceof UsageError && message.test(error.message));
  };
  await refuse(['--keys', keys], /no PATH given/);
  await refuse(['--package-signatures', 'maybe', 'x'], /expected require, if-present or ignore, got "maybe"/);
  await refuse(
    ['--signature-algorithms', 'RSA256,DSA', 'x'],
    /expected names out of RSA, RSA256, RSA512, ECDSA, got "DSA"/,
  );
  await refuse(['--signature-algorithms', '', 'x'], /expected names out of RSA, RSA256, RSA512, ECDSA, got ""/);
  await refuse(['--unknown', 'x'], /Unknown option/);
  if (!existsSync('/etc/apk/keys')) await refuse(['x'], /no --keys given .*: say --keys DIR/);
});

test('the real repository of 2017', async (t) => {
  if (!hasPmos2017()) return t.skip('../shared/data/pmos2017 absent');
  const directory = temporaryDirectory(t);
  await materialisePmos2017(directory);
  const { code, out } = await run('--keys', join(directory, 'keys'), directory);
  assert.equal(code, 4);
  // 301 packages and 3 indexes; of the 25 that are missing 4 are symlinks that dangle.
  assert.equal(out.at(-1), '304 accepted, 25 rejected, 0 held');
  assert.equal(out.filter((line) => line.includes('PACKAGE_MISSING')).length, 25);
});

test('the hostile repositories through the command', async (t) => {
  const hostile = resolve(import.meta.dirname, '../../../shared/data/hostile');
  if (!existsSync(hostile)) return t.skip('../shared/data/hostile absent');
  const keys = join(hostile, 'keys');
  const first = async (id: string): Promise<string | undefined> => {
    const { out } = await run('--keys', keys, join(hostile, 'ndx', id, 'repo'));
    return out.find((line) => !line.startsWith('accepted'))?.split(' ')[2];
  };
  assert.equal(await first('i47-pkg-trailing'), 'FORMAT_TRAILING');
  assert.equal(await first('i07-control-differs'), 'CONTROL_MISMATCH');
  assert.equal(await first('i11-missing-file'), 'PACKAGE_MISSING');
});
