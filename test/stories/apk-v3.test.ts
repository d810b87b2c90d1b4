import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import { createAdbSigningKey } from '../../src/apk/make-adb.ts';
import { AdbRepository } from '../support/adb-repository.ts';
import { Primary, snapshot } from '../support/primary.ts';

const key = createAdbSigningKey('builder.pem');

async function primaryWith(inbox?: string): Promise<Primary> {
  const primary = await Primary.create();
  const usb = join(primary.directory, 'mirrors/usb');
  await mkdir(usb);
  await writeFile(join(primary.directory, 'keys', key.name), key.publicPem);
  await primary.configure({
    mirrors: `  - { name: usb, transport: { type: directory, path: ${usb} } }`,
    ...(inbox === undefined ? {} : { inbox }),
  });
  return primary;
}

async function assertMirrored(primary: Primary, generation: number): Promise<void> {
  await primary.untilInSync('usb', generation);
  assert.deepEqual(await snapshot(join(primary.directory, 'mirrors/usb')), await snapshot(primary.public));
}

test('a v3 repository under the name of OpenWrt goes out, changes, and reaches its mirror', async () => {
  await using primary = await primaryWith();
  const repository = new AdbRepository('main/x86_64', key, { indexFile: 'packages.adb' });
  for (let i = 0; i < 6; i++) repository.set(`pkg-${i}`, '1.0-r0', `content ${i}`);
  await repository.write(primary.inbox);
  await primary.start();
  await primary.untilGeneration(1);
  const served = join(primary.public, 'main/x86_64');
  const names = Array.from({ length: 6 }, (_, i) => `pkg-${i}-1.0-r0.apk`);
  assert.deepEqual((await readdir(served)).sort(), ['packages.adb', ...names]);
  for (const name of await readdir(served))
    assert.deepEqual(
      await readFile(join(served, name)),
      await readFile(join(primary.inbox, 'main/x86_64', name)),
      name,
    );
  await assertMirrored(primary, 1);

  repository.set('pkg-0', '1.1-r0', 'newer');
  await repository.write(primary.inbox);
  await primary.untilGeneration(2);
  assert.ok(existsSync(join(primary.public, 'main/x86_64/pkg-0-1.1-r0.apk')));
  await assertMirrored(primary, 2);
  const [repositoryStatus] = (await primary.status()).repositories;
  assert.deepEqual([repositoryStatus?.index, repositoryStatus?.packages], ['packages.adb', 6]);
  assert.equal(await primary.stop(), 0);
});

test('a directory with a v2 and a v3 index: both switch together, each keeps what it names', async () => {
  await using primary = await primaryWith('    settle: 1s\n    missing_packages: hold');
  const v2 = primary.repository('main/x86_64');
  const v3 = new AdbRepository('main/x86_64', key, {
    indexFile: 'Packages.adb',
    pkgnameSpec: '${name}-${version}.v3.apk',
  });
  v2.set({ name: 'both', version: '1.0-r0', contentBytes: 500, seed: 1 });
  v2.set({ name: 'old', version: '1.0-r0', contentBytes: 500, seed: 2 });
  v3.set('both', '1.0-r0', 'v3 of both');
  v3.set('new', '1.0-r0', 'only v3');
  await v2.write(primary.inbox);
  await v3.write(primary.inbox);
  await primary.start();
  await primary.untilGeneration(1);
  const served = async (): Promise<string[]> => (await readdir(join(primary.public, 'main/x86_64'))).sort();
  const first = [
    'APKINDEX.tar.gz',
    'Packages.adb',
    'both-1.0-r0.apk',
    'both-1.0-r0.v3.apk',
    'new-1.0-r0.v3.apk',
    'old-1.0-r0.apk',
  ];
  assert.deepEqual(await served(), first, 'one generation');
  assert.equal((await primary.status()).generation, 1);
  assert.deepEqual(
    (await primary.status()).repositories.map((r) => [r.path, r.index, r.generation]),
    [
      ['main/x86_64', 'APKINDEX.tar.gz', 1],
      ['main/x86_64', 'Packages.adb', 1],
    ],
  );
  await assertMirrored(primary, 1);

  // A new v2 index beside an unchanged v3 index is fine, and takes nothing away from it.
  v2.set({ name: 'old', version: '1.1-r0', contentBytes: 500, seed: 3 });
  await v2.write(primary.inbox);
  await primary.untilGeneration(2);
  assert.deepEqual(await served(), [...first, 'old-1.1-r0.apk'].sort());
  await assertMirrored(primary, 2);

  // Both change, the v3 index by a key that nobody trusts: neither goes out.
  const before = await snapshot(primary.public);
  v2.set({ name: 'both', version: '2.0-r0', contentBytes: 500, seed: 4 });
  v3.set('both', '2.0-r0', 'v3 of both, newer');
  await v3.write(primary.inbox, { key: createAdbSigningKey('stranger.pem') });
  await v2.write(primary.inbox);
  const rejected = await primary.untilBatch('rejected');
  assert.deepEqual(
    rejected.reasons.map((r) => [r.code, r.path]),
    [['SIG_UNTRUSTED', 'main/x86_64/Packages.adb']],
  );
  assert.deepEqual(await snapshot(primary.public), before);

  // Mended, both go out in one generation.
  await v3.write(primary.inbox);
  await primary.untilGeneration(3);
  assert.equal((await primary.status()).generation, 3);
  assert.ok((await served()).includes('both-2.0-r0.apk') && (await served()).includes('both-2.0-r0.v3.apk'));
  await assertMirrored(primary, 3);
  assert.equal(await primary.stop(), 0);
});

test('two indexes that give one name to different packages, and packages in other directories, are refused', async () => {
  await using primary = await primaryWith();
  const v2 = primary.repository('main/x86_64');
  const v3 = new AdbRepository('main/x86_64', key, { indexFile: 'Packages.adb', pkgnameSpec: 'sub/${name}.apk' });
  v2.set({ name: 'both', version: '1.0-r0', contentBytes: 500, seed: 1 });
  v3.set('both', '1.0-r0', 'v3 of both');
  await v2.write(primary.inbox);
  await primary.start();
  await primary.untilGeneration(1);
  await mkdir(join(primary.inbox, 'main/x86_64/sub'));
  await v3.write(primary.inbox);
  assert.equal((await primary.untilBatch('rejected')).reasons[0]?.code, 'OUT_OF_SCOPE');

  const clash = new AdbRepository('main/x86_64', key, { indexFile: 'Packages.adb' });
  clash.set('both', '1.0-r0', 'v3 of both');
  await clash.write(primary.inbox);
  await primary.until('the clash to be told', async () =>
    (await primary.status()).batches.some((b) => b.reasons.some((r) => r.code === 'INDEX_DUPLICATE')),
  );
  assert.equal((await primary.status()).generation, 1);
  assert.equal(await primary.stop(), 0);
});
