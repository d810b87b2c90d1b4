import assert from 'node:assert/strict';
import {
  appendFile,
  link,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import test from 'node:test';
import type { ScrubStatus } from '../../src/observe/scrub.ts';
import { exec } from '../../src/system/exec.ts';
import { Primary, snapshot } from '../support/primary.ts';
import { flipBit, scrub } from '../support/rot.ts';
import { serveFiles } from '../support/file-server.ts';
import { findProgram, missingProgram, startSshd } from '../support/sshd.ts';

const directory = 'main/x86_64';
const pkg = (n: number): string => `${directory}/pkg-${n}-1.0-r0.apk`;

async function publish(primary: Primary, count = 6, lastBytes = 20_000): Promise<ReturnType<Primary['repository']>> {
  const repository = primary.repository(directory);
  for (let i = 0; i < count; i++)
    repository.set({
      name: `pkg-${i}`,
      version: '1.0-r0',
      contentBytes: i === count - 1 ? lastBytes : 20_000,
      seed: i,
    });
  await repository.write(primary.inbox);
  await primary.untilGeneration(1);
  return repository;
}

/** What the trees hold under a path, by tree. */
async function inTrees(primary: Primary, path: string): Promise<Record<string, string | null>> {
  const trees = await readdir(join(primary.root, 'trees'));
  const read = (name: string): Promise<string | null> =>
    readFile(join(primary.root, 'trees', name, path)).then(
      (bytes) => bytes.toString('base64'),
      () => null,
    );
  return Object.fromEntries(await Promise.all(trees.map(async (name) => [name, await read(name)] as const)));
}

test('a bit that flips on the primary is mended in every tree, from the inbox, for packages and indexes', async () => {
  await using primary = await Primary.create();
  await primary.start();
  const repository = await publish(primary);
  // A second generation: both trees hold the same inode.
  repository.set({ name: 'pkg-9', version: '1.0-r0', contentBytes: 100, seed: 9 });
  await repository.write(primary.inbox);
  await primary.untilGeneration(2);
  await primary.until(
    'two trees',
    async () => Object.values(await inTrees(primary, pkg(1))).filter((bytes) => bytes !== null).length === 2,
  );
  const before = await snapshot(primary.public);
  const good = before.get(pkg(1))?.content;
  await flipBit(join(primary.public, pkg(1)));
  await flipBit(join(primary.public, directory, 'APKINDEX.tar.gz'));
  assert.ok(
    Object.values(await inTrees(primary, pkg(1))).every((bytes) => bytes !== good),
    'all links are one file',
  );

  const report = await scrub(primary);
  assert.deepEqual([report.corrupt, report.repaired, report.damaged, report.error], [2, 2, [], null]);
  assert.deepEqual([report.files, report.files_total], [8, 8]);
  assert.deepEqual(await snapshot(primary.public), before, 'bytes and times are as they were');
  // One that is being made for the next generation may not have come to it yet.
  const now = Object.entries(await inTrees(primary, pkg(1))).filter(([, bytes]) => bytes !== null);
  assert.ok(now.every(([, bytes]) => bytes === good) && now.length >= 2, now.map(([tree]) => tree).join(' '));
  const kept = (await readdir(join(primary.root, 'quarantine'), { recursive: true })).map(String);
  assert.ok(
    kept.some((path) => /-scrub-[0-9a-f]{8}\/pkg-1-1\.0-r0\.apk\.\d+$/.test(path)),
    kept.join(' '),
  );
  assert.deepEqual(
    (await readdir(join(primary.root, 'ingest'))).filter((n) => n.startsWith('.mend')),
    [],
  );
  const again = await scrub(primary);
  assert.deepEqual([again.corrupt, again.repaired], [0, 0]);
});

test('without a good copy the file is taken out, told and not pushed; a mirror keeps its own; an upload mends it', async (t) => {
  const missing = missingProgram('sshd', 'ssh-keygen', 'rsync', 'rrsync');
  if (missing) return t.skip(`${missing} is not installed`);
  await using primary = await Primary.create();
  const at = (name: string): string => join(primary.directory, 'mirrors', name);
  for (const name of ['far', 'late']) await mkdir(at(name));
  // Accounts that may not read: nothing can be fetched from there.
  const account = (name: string): string => `${findProgram('rrsync')} -wo ${at(name)}`;
  await using sshd = await startSshd({ far: account('far'), late: account('late') });
  const far = (name: string): string =>
    `  - { name: ${name}, transport: { type: rsync, path: /, host: 127.0.0.1, port: ${sshd.port}, user: ${sshd.user}, identity: ${sshd.identity(name)}, host_key: "${sshd.hostKeyFingerprint}" } }`;
  await primary.configure({ mirrors: far('far') });
  await primary.start();
  const repository = await publish(primary);
  await primary.untilInSync('far', 1);
  const whole = await snapshot(at('far'));
  const upload = join(primary.inbox, pkg(2));
  await rename(upload, join(primary.directory, 'kept.apk'));
  await flipBit(join(primary.public, pkg(2)));
  // The mirror has another time, so that a comparison would send the file.
  await utimes(join(at('far'), pkg(2)), 1, 1);

  const report = await scrub(primary);
  assert.deepEqual(
    report.damaged.map((d) => d.path),
    [pkg(2)],
  );
  assert.deepEqual([report.corrupt, report.repaired], [1, 0]);
  assert.equal(report.mirrors[0]?.outcome, 'done', 'what is left is compared');
  assert.ok(
    Object.values(await inTrees(primary, pkg(2))).every((bytes) => bytes === null),
    'bad bytes are reachable nowhere',
  );
  assert.equal((await readFile(join(at('far'), pkg(2)))).toString('base64'), whole.get(pkg(2))?.content);
  assert.match(primary.log, /"event":"scrub_unrepaired"/);
  const told = await exec([process.execPath, 'src/main.ts', 'status', '--config', primary.configFile], {
    timeoutMs: 120_000,
  });
  assert.match(told.stdout, /damaged, no good copy found, not pushed: main\/x86_64\/pkg-2-1\.0-r0\.apk/);

  // A publish goes on, into a new tree too; a mirror that lacks the file gets no index that names it.
  repository.set({ name: 'pkg-9', version: '1.0-r0', contentBytes: 100, seed: 9 });
  await repository.write(primary.inbox);
  await rm(upload, { force: true });
  await primary.untilInSync('far', 2);
  await primary.configure({ mirrors: `${far('far')}\n${far('late')}` });
  primary.signal('SIGHUP');
  await primary.until('the late mirror to say why it waits', async () =>
    /damaged on the primary/.test((await primary.status()).mirrors.find((m) => m.name === 'late')?.last_error ?? ''),
  );
  assert.ok(!(await snapshot(at('late'))).has(`${directory}/APKINDEX.tar.gz`));

  await rename(join(primary.directory, 'kept.apk'), upload);
  const mended = await scrub(primary);
  assert.deepEqual([mended.damaged, mended.repaired], [[], 1]);
  assert.deepEqual((await snapshot(primary.public)).get(pkg(2)), whole.get(pkg(2)));
  assert.equal((await primary.control('push', { mirror: 'late' })).status, 202);
  await primary.untilInSync('late', 2);
  assert.deepEqual(await snapshot(at('late')), await snapshot(primary.public));
});

test('mirrors: a truncated, a lost and a rotten file are brought again, strangers stay, our leavings go', async (t) => {
  const missing = missingProgram('sshd', 'ssh-keygen');
  if (missing) return t.skip(`${missing} is not installed`);
  await using primary = await Primary.create();
  const at = (name: string): string => join(primary.directory, 'mirrors', name);
  for (const name of ['usb', 'far']) await mkdir(at(name));
  await using sshd = await startSshd({ sftp: 'internal-sftp' });
  await using web = await serveFiles(at('far'));
  await primary.configure({
    mirrors: [
      `  - { name: usb, transport: { type: directory, path: ${at('usb')} } }`,
      `  - { name: far, url: "${web.url}", transport: { type: sftp, path: ${at('far')}, host: 127.0.0.1, port: ${sshd.port}, user: ${sshd.user}, identity: ${sshd.identity('sftp')}, host_key: "${sshd.hostKeyFingerprint}" } }`,
    ].join('\n'),
    more: 'scrub: { mirror_sample: all }',
  });
  await primary.start();
  await publish(primary);
  for (const name of ['usb', 'far']) await primary.untilInSync(name, 1);
  const whole = await snapshot(primary.public);
  const strangers = ['README', '.htaccess.backup', 'other-1-r0.apk', '.pkg-1-1.0-r0.apk.young1'];
  for (const name of ['usb', 'far']) {
    await truncate(join(at(name), pkg(0)), 100);
    await rm(join(at(name), pkg(1)));
    await flipBit(join(at(name), pkg(2)));
    await appendFile(join(at(name), directory, 'APKINDEX.tar.gz'), 'x');
    for (const file of strangers) await writeFile(join(at(name), directory, file), 'mine');
    await utimes(join(at(name), directory, '.htaccess.backup'), 1, 1);
    for (const file of ['.pkg-1-1.0-r0.apk.aB3dE6', '.pkg-1-1.0-r0.apk.lockstepd-0a1b2c']) {
      await writeFile(join(at(name), directory, file), 'left');
      await utimes(join(at(name), directory, file), 1, 1);
    }
  }
  const report = await scrub(primary);
  for (const mirror of report.mirrors) {
    const { name, outcome, detail, missing: lost, different, corrupt, repaired, temporary, sampled } = mirror;
    assert.deepEqual(
      { outcome, detail, lost, different, corrupt, repaired, temporary, sampled },
      { outcome: 'done', detail: null, lost: 1, different: 2, corrupt: 1, repaired: 4, temporary: 2, sampled: 6 },
      name,
    );
    assert.deepEqual([...mirror.foreign_files].sort(), strangers.map((file) => `${directory}/${file}`).sort());
    const now = await snapshot(at(name));
    for (const file of strangers) assert.ok(now.delete(`${directory}/${file}`), `${name} keeps ${file}`);
    assert.deepEqual(now, whole, name);
  }
  assert.deepEqual([report.corrupt, report.damaged], [0, []]);
  const { mirrors } = await primary.status();
  assert.ok(
    mirrors.every((m) => m.state === 'in-sync' && m.lag_seconds === 0),
    'mending is no lag',
  );
});

test('rot is mended from a mirror: over HTTP, and from a directory', async (t) => {
  const missing = missingProgram('sshd', 'ssh-keygen');
  if (missing) return t.skip(`${missing} is not installed`);
  await using primary = await Primary.create();
  const far = join(primary.directory, 'mirrors/far');
  const usb = join(primary.directory, 'mirrors/usb');
  for (const path of [far, usb]) await mkdir(path);
  await using sshd = await startSshd({ sftp: 'internal-sftp' });
  await using web = await serveFiles(far);
  await primary.configure({
    mirrors: [
      `  - { name: far, url: "${web.url}", transport: { type: sftp, path: ${far}, host: 127.0.0.1, port: ${sshd.port}, user: ${sshd.user}, identity: ${sshd.identity('sftp')}, host_key: "${sshd.hostKeyFingerprint}" } }`,
      `  - { name: usb, transport: { type: directory, path: ${usb} } }`,
    ].join('\n'),
  });
  await primary.start();
  await publish(primary);
  for (const name of ['usb', 'far']) await primary.untilInSync(name, 1);
  const whole = await snapshot(primary.public);
  // The inbox and one mirror hold bad bytes of the same size: they are looked at, and not taken.
  for (const [bad, n] of [
    [usb, 1],
    [far, 2],
  ] as const) {
    await flipBit(join(primary.public, pkg(n)));
    await flipBit(join(primary.inbox, pkg(n)));
    await flipBit(join(bad, pkg(n)));
  }
  await rm(join(primary.public, pkg(3)));
  const report = await scrub(primary);
  assert.deepEqual([report.corrupt, report.repaired, report.damaged], [3, 3, []]);
  assert.deepEqual(await snapshot(primary.public), whole);
  const { log } = primary;
  assert.match(log, /"event":"scrub_repaired","path":"main\/x86_64\/pkg-1-1.0-r0.apk","from":"mirror far"/);
  assert.match(log, /"event":"scrub_repaired","path":"main\/x86_64\/pkg-2-1.0-r0.apk","from":"mirror usb"/);
  assert.deepEqual(
    report.mirrors.map((m) => [m.name, m.corrupt, m.repaired]),
    [
      ['far', 1, 1],
      ['usb', 1, 1],
    ],
  );
});

test('a scrub goes on over a publish, is begun anew after a kill, and a repair that was cut off is finished', async () => {
  await using primary = await Primary.create({ more: 'scrub: { rate: 64KiB }' });
  await primary.start();
  // The large one comes last, and at this rate it takes longer than any publish.
  const repository = await publish(primary, 10, 16_000_000);
  assert.equal((await primary.control('scrub', {})).status, 202);
  await primary.until('some progress', async () => (await primary.status()).scrub.files > 2);
  const during = (await primary.status()).scrub;
  assert.ok(during.running && during.files < during.files_total, 'the rate is bounded, the progress is told');
  repository.set({ name: 'pkg-0', version: '2.0-r0', contentBytes: 50_000, seed: 99 });
  await repository.write(primary.inbox);
  await primary.untilGeneration(2);
  assert.equal((await primary.status()).scrub.running, true, 'the publish did not wait for it');
  await primary.stop('SIGKILL');

  // What a kill in the middle of a repair leaves: one tree has the good file, the other one the bad file.
  const served = basename(await readlink(primary.public));
  const holders = Object.entries(await inTrees(primary, pkg(7))).filter(([, bytes]) => bytes !== null);
  const [other] = holders.find(([tree]) => tree !== served) ?? assert.fail('only one tree');
  const good = await readFile(join(primary.public, pkg(7)));
  await primary.configure({ more: 'scrub: { rate: 1GiB }' });
  await flipBit(join(primary.public, pkg(7)));
  const own = join(primary.root, 'trees', other, pkg(7));
  await writeFile(`${own}.good`, good);
  await rename(`${own}.good`, own);
  await primary.start();
  await primary.until('the scrub that was cut off', async () => {
    const { scrub: now } = await primary.status();
    return now.finished_at !== null;
  });
  const after = (await primary.status()).scrub;
  assert.deepEqual([after.damaged, after.error], [[], null]);
  assert.deepEqual(await readFile(join(primary.public, pkg(7))), good);
  assert.equal(await primary.stop(), 0);
});

test('killed at any moment of a repair, the next start has the good file or finishes the work', {
  timeout: 600_000,
}, async () => {
  await using primary = await Primary.create({ more: 'scrub: { rate: 1GiB }' });
  await primary.start();
  await publish(primary, 12);
  const whole = await snapshot(primary.public);
  for (let n = 0; n < 5; n++) {
    for (let i = 0; i < 12; i++) await flipBit(join(primary.public, pkg(i)));
    await primary.control('scrub', {});
    await primary.until('a repair', () => primary.log.split('scrub_repaired').length > n);
    await primary.stop('SIGKILL');
    await primary.start();
    await primary.until('the rest', async () => {
      const { scrub: now } = await primary.status();
      return !now.running && now.finished_at !== null && now.damaged.length === 0;
    });
    await scrub(primary);
    assert.deepEqual(await snapshot(primary.public), whole);
    // The tree for the next generation is made meanwhile, by way of temporary names.
    await primary.until('nothing to be left over', async () =>
      (await readdir(join(primary.root, 'ingest'))).every((name) => name === 'bpo' || name === '.scrub'),
    );
  }
});

test('the command waits for the report; foreign files on the primary stay, our leavings go', async () => {
  await using primary = await Primary.create();
  await primary.start();
  await publish(primary);
  const tree = dirname(join(primary.public, pkg(0)));
  await writeFile(join(tree, 'README'), 'mine');
  await writeFile(join(tree, '.pkg-0-1.0-r0.apk.lockstepd-0a1b2c'), 'left');
  const run = (...args: string[]): ReturnType<typeof exec> =>
    exec([process.execPath, 'src/main.ts', 'scrub', ...args, '--config', primary.configFile], { timeoutMs: 120_000 });
  const first = await run('--json');
  assert.equal(first.code, 0, first.stderr);
  const report = JSON.parse(first.stdout) as ScrubStatus;
  assert.deepEqual([report.files, report.foreign_files, report.temporary], [7, [`${directory}/README`], 1]);
  assert.ok(!(await readdir(tree)).includes('.pkg-0-1.0-r0.apk.lockstepd-0a1b2c'));
  await rm(join(primary.inbox, pkg(4)));
  await link(join(primary.public, pkg(5)), join(primary.directory, 'spare.apk'));
  await flipBit(join(primary.public, pkg(4)));
  const second = await run();
  assert.equal(second.code, 4);
  assert.match(second.stdout, /primary: 7 files read, 1 corrupt, 0 repaired, 1 foreign/);
});

test('so much damage that it is no rot is told, and no more is taken out', async () => {
  await using primary = await Primary.create();
  await primary.start();
  await publish(primary, 60);
  await rm(primary.inbox, { recursive: true });
  for (let i = 0; i < 60; i++) await flipBit(join(primary.public, pkg(i)));
  const report = await scrub(primary);
  assert.match(report.error ?? '', /more than 50 damaged files without a good copy/);
  assert.equal(report.damaged.length, 51);
  const left = (await readdir(join(primary.public, directory))).filter((name) => name.endsWith('.apk'));
  assert.equal(left.length, 9, 'the rest stays where it is');
});
