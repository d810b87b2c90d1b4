import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { truncate } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import test from 'node:test';
import { Primary } from '../support/primary.ts';

const main = resolve(import.meta.dirname, '../../src/main.ts');
const size = { contentBytes: 500, seed: 1 };

test('a recall says which packages need what goes, escaped; an index that cannot be read does not stop it', {
  timeout: 600_000,
}, async (t) => {
  const primary = await Primary.create({
    inbox: '    settle: 200ms',
    repositories: ['main/{arch}', 'community/{arch}'],
  });
  t.after(() => primary[Symbol.asyncDispose]());
  await primary.start();
  const recall = async (...args: string[]): Promise<{ code: number | null; out: string }> => {
    const options = ['--reason', 'leaked', '--config', primary.configFile];
    const child = spawn(process.execPath, [main, 'recall', ...args, ...options], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let out = '';
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
    const code = await new Promise<number | null>((done) => child.once('close', done));
    return { code, out };
  };

  const hostile = 'so:\u001b[2Jfoo.so';
  const repository = primary.repository('main/x86_64');
  repository.set({ name: 'libfoo', version: '1-r0', ...size, provides: [`${hostile}=1`, 'cmd:foo=1-r0'] });
  repository.set({ name: 'other', version: '1-r0', ...size, provides: ['cmd:foo'] });
  repository.set({ name: 'a', version: '1-r0', ...size, depends: [hostile] });
  repository.set({ name: 'b', version: '2-r1', ...size, depends: ['libfoo>=1', hostile] });
  repository.set({ name: 'fine', version: '1-r0', ...size, depends: ['cmd:foo', '!libfoo-dev'] });
  const beside = primary.repository('community/x86_64');
  beside.set({ name: 'c', version: '3-r0', ...size, depends: ['libfoo'] });
  await repository.write(primary.inbox);
  await beside.write(primary.inbox);
  await primary.until('both to be served', () =>
    ['main/x86_64/libfoo-1-r0.apk', 'community/x86_64/c-3-r0.apk'].every((path) =>
      existsSync(join(primary.public, path)),
    ),
  );
  await primary.until('both to be on record', async () => (await primary.status()).repositories.length === 2);

  const dry = await recall('libfoo', '--dry-run');
  assert.equal(dry.code, 0);
  assert.match(dry.out, /^ {2}community\/x86_64: 1 package needs it \(libfoo\): c-3-r0$/m);
  const needs = 'so:\\u{1b}[2Jfoo.so, libfoo';
  assert.ok(dry.out.includes(`  main/x86_64: 2 packages need it (${needs}): a-1-r0, b-2-r1\n`), dry.out);
  assert.ok(existsSync(join(primary.public, 'main/x86_64/libfoo-1-r0.apk')));
  assert.match((await recall('b', '--dry-run')).out, /^ {2}no other served package needs it$/m);

  await truncate(join(primary.public, 'community/x86_64/APKINDEX.tar.gz'), 300);
  const done = await recall('libfoo');
  assert.equal(done.code, 0);
  assert.match(done.out, /^recalled 1 files/m);
  assert.match(done.out, /^ {2}main\/x86_64: 2 packages need it /m);
  assert.match(done.out, /^ {2}what needs it is not known of community\/x86_64\/APKINDEX\.tar\.gz: .+$/m);
  assert.ok(!existsSync(join(primary.public, 'main/x86_64/libfoo-1-r0.apk')));
});
