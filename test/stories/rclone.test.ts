import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, watch } from 'node:fs';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Primary, snapshot } from '../support/primary.ts';
import { flipBit, scrub } from '../support/rot.ts';
import { missingProgram } from '../support/sshd.ts';
import { Webdav } from '../support/webdav.ts';

const missing = missingProgram('rclone');
const skip = missing && `${missing} is absent`;

async function contents(directory: string): Promise<Map<string, string>> {
  return new Map([...(await snapshot(directory))].map(([path, { content }]) => [path, content]));
}

/** Process ids of the rclones that `parent` runs. */
function children(parent: number): number[] {
  try {
    return execFileSync('pgrep', ['-P', String(parent), 'rclone'])
      .toString()
      .split('\n')
      .filter(Boolean)
      .map(Number);
  } catch {
    return [];
  }
}

test('a mirror over WebDAV: two batches, indexes last, prune, and a killed rclone', {
  skip,
  timeout: 600_000,
}, async () => {
  await using primary = await Primary.create();
  const far = join(primary.directory, 'mirrors/dav');
  await mkdir(join(far, 'repository'), { recursive: true });
  await using server = await Webdav.serve(far);
  const config = join(primary.directory, 'rclone.conf');
  await server.writeConfig(config);
  await primary.configure({
    repositories: ['main/{arch}'],
    // The large file takes some seconds: its rclone can be met while it runs.
    mirrors: `  - name: dav\n    transport: { type: rclone, remote: "dav:repository", config: ${config} }\n    bandwidth: 8MiB`,
    more: 'publish: { grace: 1s }',
  });
  const repository = primary.repository('main/x86_64');
  for (let i = 0; i < 6; i++) repository.set({ name: `pkg-${i}`, version: '1.0-r0', contentBytes: 20_000, seed: i });
  const at = join(far, 'repository/main/x86_64');
  await mkdir(at, { recursive: true });
  const early: string[] = [];
  const watcher = watch(at, (_event, name) => {
    if (name !== 'APKINDEX.tar.gz' || !existsSync(join(at, name))) return;
    for (let i = 0; i < 6; i++) if (!existsSync(join(at, `pkg-${i}-1.0-r0.apk`))) early.push(`pkg-${i}`);
  });
  await primary.start();
  await repository.write(primary.inbox);
  await primary.untilInSync('dav', 1);
  watcher.close();
  assert.deepEqual(early, [], 'the index came after its packages');
  assert.deepEqual(await contents(join(far, 'repository')), await contents(primary.public));

  // The second batch replaces a package and adds a large one; its rclone is killed on the way.
  repository.remove('pkg-0');
  repository.set({ name: 'big', version: '1.0-r0', contentBytes: 30_000_000, seed: 9 });
  const oldIndex = await readFile(join(at, 'APKINDEX.tar.gz'));
  await repository.write(primary.inbox);
  let killed = 0;
  await primary.until('an rclone to kill', () => {
    for (const pid of children(primary.pid)) {
      try {
        if (!readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('\0copy\0')) continue;
        process.kill(pid, 'SIGKILL');
        killed++;
      } catch {
        // It has ended by itself.
      }
    }
    return killed > 0;
  });
  assert.deepEqual(await readFile(join(at, 'APKINDEX.tar.gz')), oldIndex, 'nothing of the cut push shows');
  await primary.untilInSync('dav', 2);
  // What has left is pruned by the first push after its grace.
  await sleep(1500);
  repository.set({ name: 'late', version: '1.0-r0', contentBytes: 100, seed: 10 });
  await repository.write(primary.inbox);
  await primary.untilInSync('dav', 3);
  await primary.until('the old package to be pruned', async () => !(await readdir(at)).includes('pkg-0-1.0-r0.apk'));
  const [there, here] = [await contents(join(far, 'repository')), await contents(primary.public)];
  here.delete('main/x86_64/pkg-0-1.0-r0.apk');
  assert.deepEqual([...there.keys()].sort(), [...here.keys()].sort());
  assert.deepEqual(there, here);

  // What rots on the primary, and in the inbox, is brought back from there.
  const served = [...(await contents(primary.public))].filter(([path]) => here.has(path));
  for (const root of [primary.public, primary.inbox])
    for (const name of ['pkg-1-1.0-r0.apk', 'big-1.0-r0.apk']) await flipBit(join(root, 'main/x86_64', name));
  const report = await scrub(primary);
  assert.deepEqual([report.corrupt, report.repaired, report.damaged], [2, 2, []], primary.log.slice(-3000));
  const mended = await contents(primary.public);
  for (const [path, content] of served) assert.equal(mended.get(path), content, path);
  await primary.until('the log to tell', () => /"event":"scrub_repaired".*"from":"mirror dav"/.test(primary.log));
});

test('a server that is away, one that is frozen and a wrong remote: each its line', {
  skip,
  timeout: 600_000,
}, async () => {
  await using primary = await Primary.create();
  const far = join(primary.directory, 'mirrors/dav');
  await mkdir(far, { recursive: true });
  await using server = await Webdav.serve(far);
  const config = join(primary.directory, 'rclone.conf');
  await server.writeConfig(config);
  const mirror = (name: string, remote: string): string =>
    `  - { name: ${name}, transport: { type: rclone, remote: "${remote}", config: ${config}, timeout: 5s } }`;
  await primary.configure({
    mirrors: [mirror('dav', 'dav:'), mirror('typo', 'dva:'), mirror('nowhere', 'dav:no/such')].join('\n'),
  });
  const repository = primary.repository('main/x86_64');
  repository.set({ name: 'a', version: '1.0-r0', contentBytes: 1000, seed: 1 });
  const errorOf = async (name: string): Promise<string> =>
    (await primary.status()).mirrors.find((m) => m.name === name)?.last_error ?? '';
  await server.kill();
  await primary.start();
  await repository.write(primary.inbox);
  const says = async (name: string, pattern: RegExp): Promise<void> =>
    primary.until(`${name}: ${pattern.source}`, async () => pattern.test(await errorOf(name)), 240_000);
  await says('dav', /^refused: rclone ended with 1: nothing listens there/);
  await says('typo', /^local: rclone ended with 1: the configuration of rclone has no remote of that name/);
  await server.start();
  assert.equal((await primary.control('push', { mirror: 'dav' })).status, 202);
  assert.equal((await primary.control('push', { mirror: 'nowhere' })).status, 202);
  await primary.untilInSync('dav', 1);
  await says('nowhere', /^not_found: rclone ended with 3: the directory or bucket is not there/);
  assert.ok(!existsSync(join(far, 'no')), 'a missing root is never made');
  server.freeze();
  repository.set({ name: 'a', version: '2.0-r0', contentBytes: 1000, seed: 1 });
  await repository.write(primary.inbox);
  await says('dav', /^timeout: /);
});
