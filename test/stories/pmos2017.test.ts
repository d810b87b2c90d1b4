import assert from 'node:assert/strict';
import { cp, lstat, mkdir, readdir, readFile, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import { exec } from '../../src/system/exec.ts';
import { hasPmos2017, materialisePmos2017, pmos2017Arches } from '../support/apk-pmos2017.ts';
import { Primary, snapshot } from '../support/primary.ts';

const missing = { aarch64: 3, armhf: 13, x86_64: 9 } as const;

test('the real repository of 2017 is held with the names of what is missing, or published without it', {
  timeout: 600_000,
}, async (t) => {
  if (!hasPmos2017()) {
    t.skip('../shared/data/pmos2017 absent');
    return;
  }
  await using primary = await Primary.create();
  const upload = join(primary.directory, 'upload');
  await materialisePmos2017(upload);
  await rm(join(primary.directory, 'keys'), { recursive: true });
  await rename(join(upload, 'keys'), join(primary.directory, 'keys'));
  const configure = (policy: string): Promise<void> =>
    primary.configure({ repositories: ['{arch}'], inbox: `    settle: 300ms\n    missing_packages: ${policy}` });
  await configure('hold');
  await primary.start();
  await mkdir(primary.inbox, { recursive: true });
  // Under the lock, as rrsync uploads: a pause within it is not its end.
  const copied = await exec(['flock', '-x', primary.inbox, 'cp', '-a', `${upload}/.`, primary.inbox], {
    timeoutMs: 300_000,
  });
  assert.equal(copied.code, 0, copied.stderr);

  await t.test('held: INCOMPLETE, with the names', async () => {
    let held = await primary.untilBatch('held');
    await primary.until('all three repositories in one batch', async () => {
      held = await primary.untilBatch('held');
      return new Set(held.reasons.map((r) => r.path.split('/')[0])).size === 3;
    });
    for (const arch of pmos2017Arches) {
      const named = held.reasons.filter((r) => r.path.startsWith(`${arch}/`));
      assert.equal(named.length, missing[arch], arch);
      for (const { code, path } of named) {
        assert.equal(code, 'INCOMPLETE');
        await assert.rejects(stat(join(upload, path)), path);
      }
    }
    assert.equal(held.reasons.length, 25);
    await assert.rejects(lstat(primary.public));
  });

  await t.test(
    'with missing_packages: publish it is served: every present package byte for byte, as a real file',
    async () => {
      await primary.stop();
      await configure('publish');
      await primary.start();
      await primary.untilBatch('published');
      await primary.until('all three repositories', async () => (await primary.status()).repositories.length === 3);
      const names = (await readdir(primary.public)).sort();
      assert.deepEqual(names, [...pmos2017Arches, 'lockstep.json'].sort());
      const sources = new Map<string, Set<number>>();
      let links = 0;
      for (const arch of pmos2017Arches) {
        const served = await readdir(join(primary.public, arch));
        for (const name of await readdir(join(upload, arch))) {
          const from = join(upload, arch, name);
          const symlinked = (await lstat(from)).isSymbolicLink();
          if (symlinked) links++;
          const target = await realpath(from).catch(() => null);
          assert.equal(served.includes(name), target !== null, `${arch}/${name}`);
          if (target === null) continue;
          const facts = await lstat(join(primary.public, arch, name));
          assert.ok(facts.isFile());
          assert.equal(facts.mode & 0o7777, 0o644);
          assert.deepEqual(await readFile(join(primary.public, arch, name)), await readFile(from));
          if (name.endsWith('.apk')) sources.set(target, (sources.get(target) ?? new Set()).add(facts.ino));
        }
        assert.equal(served.length, new Set(served).size);
      }
      assert.equal(links, 150, '146 that lead somewhere and 4 that dangle');
      for (const [target, inodes] of sources) assert.equal(inodes.size, 1, `one inode for ${target}`);
      const { repositories } = await primary.status();
      assert.equal(repositories.length, 3);
    },
  );

  await t.test(
    'a missing package that comes later is published with the same index, as the next generation',
    async () => {
      const before = await primary.status();
      const index = await readFile(join(primary.public, 'x86_64/APKINDEX.tar.gz'));
      // A published one is taken away again, as if it had never been there, on a fresh primary.
      const name = (await readdir(join(upload, 'x86_64'))).find((n) => n.endsWith('.apk')) ?? '';
      const bytes = await readFile(join(upload, 'x86_64', name));
      await using other = await Primary.create();
      await rm(join(other.directory, 'keys'), { recursive: true });
      await cp(join(primary.directory, 'keys'), join(other.directory, 'keys'), { recursive: true });
      await other.configure({
        repositories: ['{arch}'],
        inbox: '    settle: 300ms\n    missing_packages: publish',
        more: 'schedule: { rescan: 1s }',
      });
      await cp(join(upload, 'x86_64'), join(other.inbox, 'x86_64'), {
        recursive: true,
        dereference: false,
        verbatimSymlinks: true,
      });
      await rm(join(other.inbox, 'x86_64', name));
      await other.start();
      await other.untilGeneration(1);
      const first = await snapshot(other.public);
      assert.equal(first.has(`x86_64/${name}`), false);
      await writeFile(join(other.inbox, 'x86_64', name), bytes);
      await other.untilGeneration(2);
      const second = await snapshot(other.public);
      assert.equal(second.get(`x86_64/${name}`)?.content, bytes.toString('base64'));
      assert.equal(second.size, first.size + 1);
      assert.equal(second.get('x86_64/APKINDEX.tar.gz')?.content, index.toString('base64'));
      const mtime = (files: typeof first, path: string): number => files.get(path)?.mtimeSeconds ?? 0;
      for (const path of ['x86_64/APKINDEX.tar.gz', 'lockstep.json'])
        assert.ok(mtime(second, path) > mtime(first, path), path);
      assert.deepEqual(await primary.status(), before);
    },
  );
});
