import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import {
  chmod,
  cp,
  lstat,
  mkdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { join, resolve } from 'node:path';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SampleRepository } from '../../src/cli/sample-builder.ts';
import { childEnvironment, exec } from '../../src/system/exec.ts';
import { hasPmos2017, materialisePmos2017, pmos2017Arches } from '../support/apk-pmos2017.ts';
import { Primary, snapshot } from '../support/primary.ts';

const main = resolve(import.meta.dirname, '../../src/main.ts');

async function adopt(primary: Primary, directory: string, ...more: string[]): ReturnType<typeof exec> {
  const args = ['adopt', directory, '--config', primary.configFile, ...more];
  return exec([process.execPath, main, ...args], { env: childEnvironment(), timeoutMs: 300_000 });
}

/** A primary that never ran, with a plain public directory. */
async function plain(packages = 3): Promise<{ primary: Primary; repository: SampleRepository }> {
  const primary = await Primary.create();
  const repository = primary.repository('main/x86_64');
  for (let n = 0; n < packages; n++)
    repository.set({ name: `p${n}`, version: '1-r0', contentBytes: 2000 + n, seed: n });
  await mkdir(primary.public, { recursive: true });
  await repository.write(primary.public);
  return { primary, repository };
}

async function packagesOf(directory: string): Promise<Map<string, string>> {
  const files = await snapshot(directory);
  return new Map([...files].filter(([path]) => path !== 'lockstep.json').map(([path, { content }]) => [path, content]));
}

test('a plain public directory is taken over: linked, served through the link, kept aside, and the daemon goes on from it', {
  timeout: 600_000,
}, async () => {
  const { primary, repository } = await plain();
  await using _ = primary;
  await writeFile(join(primary.public, 'index.html'), 'hello');
  await writeFile(join(primary.public, 'main/x86_64/old-1-r0.apk'), 'nobody names me');
  const before = await snapshot(primary.public);
  const inode = (await stat(join(primary.public, 'main/x86_64/p0-1-r0.apk'))).ino;

  const dry = await adopt(primary, primary.public, '--dry-run');
  assert.equal(dry.code, 0, dry.stderr);
  assert.match(dry.stdout, /^stranger {2}index\.html$/m);
  assert.match(dry.stdout, /^stranger {2}main\/x86_64\/old-1-r0\.apk$/m);
  assert.match(dry.stdout, /1 indexes, 3 packages of \d+ bytes verified, 0 gaps, 0 mismatches, 0 refused, 2 strangers/);
  assert.deepEqual(await snapshot(primary.public), before);
  await assert.rejects(lstat(join(primary.root, 'trees')), 'nothing was written');
  await assert.rejects(lstat(join(primary.directory, 'state/state.db')));

  const done = await adopt(primary, primary.public);
  assert.equal(done.code, 0, done.stderr);
  assert.match(done.stdout, /verified \(3 linked, 0 copied\)/);
  assert.match(done.stdout, /generation 1 is served from trees\/a/);
  assert.equal(await readlink(primary.public), 'trees/a');
  assert.deepEqual(await snapshot(join(primary.root, 'public.before-adopt')), before);
  assert.equal((await stat(join(primary.public, 'main/x86_64/p0-1-r0.apk'))).ino, inode);
  const served = await snapshot(primary.public);
  assert.deepEqual([...served.keys()].sort(), [
    'lockstep.json',
    'main/x86_64/APKINDEX.tar.gz',
    ...[0, 1, 2].map((n) => `main/x86_64/p${n}-1-r0.apk`),
  ]);
  for (const [path, file] of served) if (path.endsWith('.apk')) assert.deepEqual(file, before.get(path));

  const again = await adopt(primary, primary.public);
  assert.equal(again.code, 0, again.stderr);
  assert.match(again.stdout, /is generation 1 of lockstepd already/);

  await primary.start();
  assert.equal((await primary.status()).generation, 1);
  repository.set({ name: 'p0', version: '2-r0', contentBytes: 100, seed: 77 });
  await repository.write(primary.inbox);
  // The builder's inbox holds only what is new; the rest is known.
  await primary.untilGeneration(2);
  assert.equal((await primary.status()).repositories[0]?.packages, 3);
});

test('adopt refuses while the daemon runs', { timeout: 600_000 }, async () => {
  await using primary = await Primary.create();
  await primary.start();
  const other = join(primary.directory, 'other');
  await primary.repository('main/x86_64').write(other);
  const { code, stderr } = await adopt(primary, other);
  assert.equal(code, 1);
  assert.match(stderr, /^lockstepd: state .*: another lockstepd uses it: stop that one first/);
});

test('what does not verify keeps all of it from being taken over, is named, and nothing is changed', {
  timeout: 600_000,
}, async () => {
  const { primary } = await plain(4);
  await using _ = primary;
  const file = (name: string): string => join(primary.public, 'main/x86_64', name);
  await rm(file('p0-1-r0.apk'));
  const gap = await adopt(primary, primary.public);
  assert.equal(gap.code, 4, gap.stdout);
  assert.match(gap.stdout, /^gap {7}main\/x86_64\/p0-1-r0\.apk/m);
  assert.match(gap.stderr, /add them, or say --missing publish/);
  assert.equal((await adopt(primary, primary.public, '--dry-run', '--missing', 'publish')).code, 0);

  const bytes = await readFile(file('p1-1-r0.apk'));
  await truncate(file('p1-1-r0.apk'), 100);
  await rm(file('p2-1-r0.apk'));
  await symlink('/etc/hostname', file('p2-1-r0.apk'));
  const before = await snapshot(primary.public);
  const wrong = await adopt(primary, primary.public, '--missing', 'publish');
  assert.equal(wrong.code, 4, wrong.stdout);
  assert.match(wrong.stdout, /^mismatch {2}main\/x86_64\/p1-1-r0\.apk: (SIZE_MISMATCH|TRUNCATED|DATA_MISMATCH)/m);
  assert.match(wrong.stdout, /^mismatch {2}main\/x86_64\/p2-1-r0\.apk: NOT_REGULAR: a symlink that leads out/m);
  assert.equal((await lstat(primary.public)).isDirectory(), true);
  assert.deepEqual(await snapshot(primary.public), before);

  await writeFile(file('p1-1-r0.apk'), bytes);
  await rm(file('p2-1-r0.apk'));
  await rm(join(primary.directory, 'keys', primary.key.name));
  await primary.repository('main/x86_64').write(join(primary.directory, 'elsewhere'));
  const noKeys = await adopt(primary, primary.public, '--missing', 'publish');
  assert.equal(noKeys.code, 78, 'a configuration without a key is wrong by itself');
  await writeFile(join(primary.directory, 'keys', primary.key.name), primary.key.publicPem);
  await truncate(file('APKINDEX.tar.gz'), 100);
  const refused = await adopt(primary, primary.public, '--missing', 'publish');
  assert.equal(refused.code, 4);
  assert.match(refused.stdout, /^refused {3}main\/x86_64\/APKINDEX\.tar\.gz: /m);
  assert.equal((await lstat(primary.public)).isDirectory(), true);
});

test('a file that others may write, or that lies on another file system, is copied; a second directory joins what is published', {
  timeout: 600_000,
}, async () => {
  const { primary } = await plain(2);
  await using _ = primary;
  assert.equal((await adopt(primary, primary.public)).code, 0);
  const other = join(primary.directory, 'other');
  const repository = primary.repository('main/aarch64');
  repository.set({ name: 'q', version: '1-r0', contentBytes: 500, seed: 3 });
  await repository.write(other);
  const path = join(other, 'main/aarch64/q-1-r0.apk');
  await chmod(path, 0o664);
  const joined = await adopt(primary, other);
  assert.equal(joined.code, 0, joined.stderr);
  assert.match(joined.stdout, /verified \(0 linked, 1 copied\)[^]*generation 2 is served/);
  const served = join(primary.public, 'main/aarch64/q-1-r0.apk');
  assert.notEqual((await stat(served)).ino, (await stat(path)).ino);
  assert.equal((await stat(served)).mode & 0o7777, 0o644);
  assert.equal((await stat(join(primary.public, 'main/x86_64/p0-1-r0.apk'))).isFile(), true);
  // Another index of a published repository is the builder's to bring.
  repository.set({ name: 'q', version: '2-r0', contentBytes: 500, seed: 4 });
  await repository.write(other);
  const refused = await adopt(primary, other);
  assert.equal(refused.code, 4);
  assert.match(refused.stdout, /REPLAY: lockstepd serves this repository already/);
});

test('the real repository of 2017 is taken over with its 25 gaps, symlinks as real files', {
  timeout: 900_000,
}, async (t) => {
  if (!hasPmos2017()) {
    t.skip('../shared/data/pmos2017 absent');
    return;
  }
  await using primary = await Primary.create();
  await primary.configure({ repositories: ['{arch}'] });
  await materialisePmos2017(primary.public);
  await rm(join(primary.directory, 'keys'), { recursive: true });
  await rename(join(primary.public, 'keys'), join(primary.directory, 'keys'));
  const held = await adopt(primary, primary.public);
  assert.equal(held.code, 4, held.stdout);
  assert.equal(held.stdout.match(/^gap /gm)?.length, 25);
  const done = await adopt(primary, primary.public, '--missing', 'publish');
  assert.equal(done.code, 0, done.stdout + done.stderr);
  t.diagnostic(done.stdout.split('\n').at(-4) ?? '');
  for (const arch of pmos2017Arches)
    for (const [path, content] of await packagesOf(join(primary.public, arch)))
      assert.equal((await readFile(join(primary.root, 'public.before-adopt', arch, path))).toString('base64'), content);
  await primary.start();
  const { generation, repositories } = await primary.status();
  assert.deepEqual([generation, repositories.length], [1, 3]);
});

test('killed at any moment, adopt leaves the directory or the link, and another run finishes', {
  timeout: 1_800_000,
}, async (t) => {
  const states = { plain: 0, link: 0, none: 0 };
  const { primary } = await plain(300);
  await using _ = primary;
  const original = join(primary.directory, 'original');
  await cp(primary.public, original, { recursive: true, preserveTimestamps: true });
  const expected = await packagesOf(original);
  const kills = 8;
  // The first run is left alone: it tells how long one takes here.
  let wholeMs = 0;
  for (let n = 0; n <= kills; n++) {
    for (const name of ['public', 'public.before-adopt', 'trees', 'ingest', 'quarantine'])
      await rm(join(primary.root, name), { recursive: true, force: true });
    await rm(join(primary.directory, 'state'), { recursive: true, force: true });
    await mkdir(join(primary.directory, 'state'));
    await cp(original, primary.public, { recursive: true, preserveTimestamps: true });
    const startedAt = performance.now();
    const child: ChildProcess = spawn(
      process.execPath,
      [main, 'adopt', primary.public, '--config', primary.configFile],
      { stdio: 'ignore' },
    );
    const ended = new Promise((done) => {
      child.once('close', done);
    });
    // Not in the first quarter, in which nothing but the program comes up.
    if (n > 0) {
      await Promise.race([ended, sleep(wholeMs * (0.25 + (0.75 * n) / kills))]);
      child.kill('SIGKILL');
    }
    await ended;
    if (n === 0) wholeMs = performance.now() - startedAt;
    const kind = await lstat(primary.public).then(
      (facts) => (facts.isDirectory() ? 'plain' : 'link'),
      () => 'none' as const,
    );
    states[kind]++;
    if (kind !== 'none') {
      const content = await packagesOf(primary.public);
      assert.deepEqual([...content.keys()].sort(), [...expected.keys()].sort());
    }
    const again = await adopt(primary, primary.public);
    assert.equal(again.code, 0, again.stdout + again.stderr);
    assert.equal(await readlink(primary.public), 'trees/a');
    const content = await packagesOf(primary.public);
    for (const [path, bytes] of expected) assert.equal(content.get(path), bytes, path);
  }
  t.diagnostic(JSON.stringify(states));
});

test('cut between the two renames, the daemon finishes what adopt began', { timeout: 600_000 }, async () => {
  const { primary } = await plain(3);
  await using _ = primary;
  const expected = await packagesOf(primary.public);
  // The journal is written, the tree is up, the directory is aside: then the process is gone.
  const script = `
    import fs from 'node:fs';
    import { syncBuiltinESMExports } from 'node:module';
    const rename = fs.promises.rename;
    fs.promises.rename = async (from, to) => {
      await rename(from, to);
      if (String(to).endsWith('public.before-adopt')) process.kill(process.pid, 'SIGKILL');
    };
    syncBuiltinESMExports();
  `;
  const preload = join(primary.directory, 'cut.mjs');
  await writeFile(preload, script);
  const cut = await exec(
    [process.execPath, '--import', preload, main, 'adopt', primary.public, '--config', primary.configFile],
    { env: childEnvironment(), timeoutMs: 300_000 },
  );
  assert.equal(cut.signal, 'SIGKILL', cut.stderr);
  await assert.rejects(lstat(primary.public), 'the instant between the two renames');
  await primary.start();
  assert.equal((await primary.status()).generation, 1);
  const content = await packagesOf(primary.public);
  for (const [path, bytes] of expected) assert.equal(content.get(path), bytes, path);
});
