import assert from 'node:assert/strict';
import { mkdir, readdir, readlink, stat } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import { childEnvironment, exec } from '../../src/system/exec.ts';
import { Primary, snapshot } from '../support/primary.ts';
import { findProgram, missingProgram, type Sshd, startSshd } from '../support/sshd.ts';

const programs = ['sshd', 'ssh', 'rsync', 'rrsync', 'ssh-keygen'];

async function push(sshd: Sshd, directory: string): Promise<void> {
  const ssh = `ssh -p ${sshd.port} -i ${sshd.identity('builder')} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o IdentitiesOnly=yes`;
  // Two indexes of one size made within a second are one to rsync's quick check.
  const result = await exec(['rsync', '-rtc', '-e', ssh, `${directory}/`, `${sshd.user}@127.0.0.1:/`], {
    env: childEnvironment(),
    timeoutMs: 300_000,
  });
  assert.equal(result.code, 0, result.stderr);
}

/** The public tree without what packages that left leave behind: those stay for the grace period, on mirrors too. */
async function assertSame(primary: Primary, mirror: string): Promise<void> {
  const ours = await snapshot(primary.public);
  assert.ok(ours.has('lockstep.json') && ours.size > 10);
  assert.deepEqual(await snapshot(mirror), ours, mirror);
}

test('two batches through rrsync reach an rrsync-only, an sftp-only and a directory mirror, byte for byte', async (t) => {
  const missing = missingProgram(...programs);
  if (missing) return t.skip(`${missing} is not installed`);
  await using primary = await Primary.create();
  const at = (name: string): string => join(primary.directory, 'mirrors', name);
  for (const name of ['rrsync', 'sftp', 'usb']) await mkdir(at(name));
  await using sshd = await startSshd({
    // The primary's own, also where the mirrors have another.
    builder: `${findProgram('rrsync')} -wo -munge -no-del ${primary.inbox}`,
    rrsync: `rrsync -wo ${at('rrsync')}`,
    sftp: 'internal-sftp',
  });
  const ssh = (name: string): string =>
    `host: 127.0.0.1, port: ${sshd.port}, user: ${sshd.user}, identity: ${sshd.identity(name)}, host_key: "${sshd.hostKeyFingerprint}"`;
  await primary.configure({
    mirrors: [
      `  - { name: rrsync, transport: { type: rsync, path: /, ${ssh('rrsync')} } }`,
      `  - { name: sftp, transport: { type: sftp, path: ${at('sftp')}, ${ssh('sftp')} } }`,
      `  - { name: usb, transport: { type: directory, path: ${at('usb')} } }`,
    ].join('\n'),
  });
  const upload = join(primary.directory, 'upload');
  const x86 = primary.repository('main/x86_64');
  const arm = primary.repository('main/aarch64');
  for (let i = 0; i < 40; i++) {
    x86.set({ name: `pkg-${i}`, version: '1.0-r0', contentBytes: 3000, seed: i });
    arm.set({ name: `pkg-${i}`, version: '1.0-r0', contentBytes: 3000, seed: i });
    for (const repository of [x86, arm])
      repository.set({ name: `doc-${i}`, version: '1.0-r0', packageArch: 'noarch', contentBytes: 500, seed: i });
  }
  await x86.write(upload);
  await arm.write(upload);
  await primary.start();
  await push(sshd, upload);
  for (const name of ['rrsync', 'sftp', 'usb']) {
    await primary.untilInSync(name, 1);
    await assertSame(primary, at(name));
  }
  assert.equal((await primary.status()).generation, 1, 'both repositories went out as one generation');
  const first = await readlink(primary.public);

  for (let i = 0; i < 20; i++) x86.set({ name: `pkg-${i}`, version: '1.1-r0', contentBytes: 75_000, seed: 100 + i });
  await x86.write(upload);
  await push(sshd, upload);
  const over = performance.now();
  for (const name of ['rrsync', 'sftp', 'usb']) await primary.untilInSync(name, 2);
  t.diagnostic(`20 packages on three mirrors ${Math.round(performance.now() - over)} ms after the upload's end`);
  for (const name of ['rrsync', 'sftp', 'usb']) await assertSame(primary, at(name));
  assert.notEqual(await readlink(primary.public), first, 'the second generation lies in another tree');
  const served = await readdir(join(primary.public, 'main/x86_64'));
  assert.ok(
    served.includes('pkg-0-1.0-r0.apk') && served.includes('pkg-0-1.1-r0.apk'),
    'what left the index stays for the grace period',
  );
  const inodes = await Promise.all(
    ['x86_64', 'aarch64'].map(async (arch) => (await stat(join(primary.public, 'main', arch, 'doc-0-1.0-r0.apk'))).ino),
  );
  assert.equal(new Set(inodes).size, 1, 'the same noarch package is one inode');
  assert.deepEqual(
    (await primary.status()).mirrors.map((m) => m.lag_seconds),
    [0, 0, 0],
  );
  assert.equal(await primary.stop(), 0);
});
