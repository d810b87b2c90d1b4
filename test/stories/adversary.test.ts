import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { copyFile, mkdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import test from 'node:test';
import { createSigningKey, makeIndex, makePackage } from '../../src/apk/make.ts';
import { createAdbSigningKey, makeAdbIndex, makeAdbPackage } from '../../src/apk/make-adb.ts';
import type { Status } from '../../src/observe/status.ts';
import { AdbRepository } from '../support/adb-repository.ts';
import { Primary, snapshot } from '../support/primary.ts';

type Batch = Status['batches'][number];

async function untilReason(primary: Primary, state: string, code: string): Promise<Batch> {
  let found: Batch | undefined;
  await primary.until(`a batch that is ${state} for ${code}`, async () => {
    const { batches } = await primary.status();
    found = batches.find((b) => b.state === state && b.reasons.some((r) => r.code === code));
    return found !== undefined;
  });
  if (!found) throw new Error('unreachable');
  return found;
}

async function approve(primary: Primary, batch: string): Promise<void> {
  const answer = await primary.control('approve', { batch, who: 'alice', why: '' });
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
}

test('the signed index of one repository does not become that of another by an upload alone', async () => {
  await using primary = await Primary.create({
    repositories: ['edge/{arch}', 'v1/{arch}', 'staging/*/{arch}'],
    inbox: '    settle: 200ms',
  });
  const edge = primary.repository('edge/x86_64');
  const stable = primary.repository('v1/x86_64');
  for (const name of ['a', 'b', 'c']) {
    edge.set({ name, version: '2.0-r0', contentBytes: 100, seed: 1 });
    stable.set({ name, version: '1.0-r0', contentBytes: 100, seed: 2 });
  }
  await edge.write(primary.inbox);
  await stable.write(primary.inbox);
  await primary.start();
  await primary.untilGeneration(1);
  await primary.until('both', async () => (await primary.status()).repositories.length === 2);
  const before = await snapshot(primary.public);
  const carry = async (to: string): Promise<void> => {
    const [source, target] = [join(primary.inbox, 'edge/x86_64'), join(primary.inbox, to)];
    await mkdir(target, { recursive: true });
    for (const name of ['a', 'b', 'c'])
      await copyFile(join(source, `${name}-2.0-r0.apk`), join(target, `${name}-2.0-r0.apk`));
    await copyFile(join(source, 'APKINDEX.tar.gz'), join(target, '.new'));
    await rename(join(target, '.new'), join(target, 'APKINDEX.tar.gz'));
  };
  await carry('v1/x86_64');
  await carry('staging/evil/x86_64');
  await primary.until('both to be held', async () => {
    const held = (await primary.status()).batches.filter((b) => b.state === 'held').flatMap((b) => b.reasons);
    return held.length === 2 && held.every((r) => r.code === 'REPLAY');
  });
  assert.deepEqual(await snapshot(primary.public), before);

  // A branch may well begin as a copy: somebody says so.
  await approve(primary, (await untilReason(primary, 'held', 'REPLAY')).id);
  await primary.until('the copies', async () => (await primary.status()).repositories.length === 3);
  assert.equal(await primary.stop(), 0);
});

test('an index cannot give another version to the bytes of a package under a file name without a version', async () => {
  const key = createAdbSigningKey('builder.pem');
  await using primary = await Primary.create({ inbox: '    settle: 200ms' });
  await writeFile(join(primary.directory, 'keys', key.name), key.publicPem);
  const made = makeAdbPackage({ name: 'a', version: '1.0-r0', arch: 'x86_64', files: { usr: [] } }, [key]);
  const target = join(primary.inbox, 'main/x86_64');
  const write = async (version: string): Promise<void> => {
    await mkdir(target, { recursive: true });
    await writeFile(join(target, 'a.apk'), made.bytes);
    const entry = { ...made.entry, version };
    await writeFile(join(target, '.new'), makeAdbIndex([entry], key, { pkgnameSpec: '${name}.apk' }));
    await rename(join(target, '.new'), join(target, 'packages.adb'));
  };
  await write('1.0-r0');
  await primary.start();
  await primary.untilGeneration(1);
  await write('9.0-r0');
  await untilReason(primary, 'rejected', 'IDENTITY_MISMATCH');
  assert.equal((await primary.status()).generation, 1);
  assert.equal(await primary.stop(), 0);
});

test('a rebuilt package of the same size and time is told apart by every quick check', async () => {
  await using primary = await Primary.create();
  const usb = join(primary.directory, 'mirrors/usb');
  await mkdir(usb);
  await primary.configure({
    mirrors: `  - { name: usb, transport: { type: directory, path: ${usb} } }`,
    inbox: '    settle: 200ms',
  });
  const repository = primary.repository('main/x86_64');
  const spec = { name: 'a', version: '1.0-r0', contentBytes: 3000 };
  const first = repository.set({ ...spec, seed: 1 });
  const file = join(primary.inbox, 'main/x86_64/a-1.0-r0.apk');
  const at = new Date(1_700_000_000_000);
  const write = async (): Promise<void> => {
    await repository.write(primary.inbox, { index: false });
    await utimes(file, at, at);
    await repository.write(primary.inbox);
  };
  await write();
  await primary.start();
  await primary.untilInSync('usb', 1);
  const served = join(primary.public, 'main/x86_64/a-1.0-r0.apk');
  assert.equal((await stat(served)).mtimeMs, at.getTime());

  let seed = 2;
  while (makePackage({ ...spec, seed, arch: 'x86_64' }, primary.key).bytes.length !== first.bytes.length) seed++;
  const second = repository.set({ ...spec, seed });
  await write();
  await approve(primary, (await untilReason(primary, 'held', 'REBUILT')).id);
  await primary.untilInSync('usb', 2);
  for (const root of [primary.public, usb]) {
    const path = join(root, 'main/x86_64/a-1.0-r0.apk');
    assert.deepEqual(await readFile(path), second.bytes);
    const { size, mtimeMs } = await stat(path);
    assert.deepEqual([size, mtimeMs], [first.bytes.length, at.getTime() + 1000], root);
  }
  assert.equal(await primary.stop(), 0);
});

test('other bytes in the place of a package of another index of the directory are a rebuild', async () => {
  const key = createAdbSigningKey('builder.pem');
  await using primary = await Primary.create({ inbox: '    settle: 200ms' });
  await writeFile(join(primary.directory, 'keys', key.name), key.publicPem);
  const v2 = primary.repository('main/x86_64');
  v2.set({ name: 'a', version: '1.0-r0', contentBytes: 100, seed: 1 });
  v2.set({ name: 'b', version: '1.0-r0', contentBytes: 100, seed: 2 });
  await v2.write(primary.inbox);
  await primary.start();
  await primary.untilGeneration(1);
  v2.remove('a');
  await v2.write(primary.inbox);
  await primary.untilGeneration(2);
  const before = await snapshot(primary.public);

  const v3 = new AdbRepository('main/x86_64', key, { indexFile: 'Packages.adb' });
  v3.set('a', '1.0-r0', 'v3 of a');
  await v3.write(primary.inbox);
  const [reason] = (await untilReason(primary, 'held', 'REBUILT')).reasons;
  assert.match(reason?.detail ?? '', /1 package: a 1\.0-r0$/);
  assert.deepEqual(await snapshot(primary.public), before);
  assert.equal(await primary.stop(), 0);
});

test('of two indexes in a directory the one whose key was removed is told, once', async () => {
  const key = createAdbSigningKey('builder.pem');
  await using primary = await Primary.create({ inbox: '    settle: 200ms', more: 'schedule: { rescan: 1s }' });
  const keyFile = join(primary.directory, 'keys', key.name);
  await writeFile(keyFile, key.publicPem);
  const v2 = primary.repository('main/x86_64');
  v2.set({ name: 'a', version: '1.0-r0', contentBytes: 100, seed: 1 });
  const v3 = new AdbRepository('main/x86_64', key, { indexFile: 'Packages.adb' });
  v3.set('b', '1.0-r0', 'v3 of b');
  await v2.write(primary.inbox);
  await v3.write(primary.inbox);
  await primary.start();
  await primary.until('both', async () => (await primary.status()).repositories.length === 2);
  await rm(keyFile);
  await primary.until('the log to tell', () => primary.log.includes('"event":"index_key_untrusted"'));
  // A key that comes has the states looked at once more.
  const other = createAdbSigningKey('other.pem');
  await writeFile(join(primary.directory, 'keys', other.name), other.publicPem);
  await primary.until('the new key', () => primary.log.split('"event":"keys_changed"').length >= 3);
  await v2.write(primary.inbox);
  const told = primary.log.match(/"event":"index_key_\w+".*?"index":"[^"]*"/g) ?? [];
  assert.equal(told.length, 1, told.join('\n'));
  assert.match(told.join(), /untrusted.*Packages\.adb/);
  assert.equal(await primary.stop(), 0);
});

test('approving a batch lets out what is whole; what lacks a package waits for it', async () => {
  await using primary = await Primary.create({ inbox: '    settle: 200ms' });
  const [x, y] = [primary.repository('main/x86_64'), primary.repository('main/armv7')];
  for (const repository of [x, y])
    for (const name of ['a', 'b', 'c', 'd']) repository.set({ name, version: '1.0-r0', contentBytes: 100, seed: 1 });
  await x.write(primary.inbox);
  await y.write(primary.inbox);
  await primary.start();
  await primary.until('both', async () => (await primary.status()).repositories.length === 2);
  const generation = (await primary.status()).generation;

  for (const name of ['a', 'b', 'c']) x.remove(name);
  const late = y.set({ name: 'a', version: '2.0-r0', contentBytes: 100, seed: 2 });
  const target = join(primary.inbox, 'main/armv7');
  await mkdir(target, { recursive: true });
  await writeFile(join(target, '.new'), y.index());
  await rename(join(target, '.new'), join(target, 'APKINDEX.tar.gz'));
  await x.write(primary.inbox);
  let batch: Batch | undefined;
  await primary.until('one batch with both reasons', async () => {
    batch = (await primary.status()).batches.find((b) => b.state === 'held' && b.reasons.length === 2);
    return batch !== undefined;
  });
  const answer = await primary.control('approve', { batch: batch?.id, who: 'alice', why: '' });
  assert.equal(answer.status, 200);
  assert.match(JSON.stringify(answer.body), /main\/armv7\/a-2\.0-r0\.apk must be completed first/);
  await primary.untilGeneration(generation + 1);
  // At once: what is left is told before the other one goes out.
  const [rest] = (await primary.status()).batches.filter((b) => b.state === 'held');
  assert.deepEqual(
    rest?.reasons.map((r) => [r.code, r.path]),
    [['INCOMPLETE', 'main/armv7/a-2.0-r0.apk']],
  );
  await writeFile(join(target, late.file), late.bytes);
  await primary.untilGeneration(generation + 2);
  assert.equal(await primary.stop(), 0);
});

test('what an uploader or an operator writes reaches no terminal as it is, as JSON either', async () => {
  const evil = '\u001b[2J\u009b31m\u202egnp\u2028x';
  const main = resolve(import.meta.dirname, '../../src/main.ts');
  await using primary = await Primary.create({ inbox: '    settle: 200ms\n    approval: required' });
  const repository = primary.repository('main/x86_64');
  repository.set({ name: 'a', version: '1.0-r0', contentBytes: 100, seed: 1 });
  await repository.write(primary.inbox, { index: false });
  await writeFile(join(primary.inbox, 'main/x86_64/APKINDEX.tar.gz'), repository.index(evil));
  await primary.start();
  const { id } = await untilReason(primary, 'held', 'APPROVAL');
  const run = async (...args: string[]): Promise<string> => {
    const child = spawn(process.execPath, [main, ...args, '--config', primary.configFile], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let out = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
    await new Promise((done) => child.once('close', done));
    return out;
  };
  const unsafe = /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;
  const stranger = createSigningKey(`${evil}.rsa.pub`);
  await mkdir(join(primary.inbox, 'main/armv7'), { recursive: true });
  await writeFile(join(primary.inbox, 'main/armv7/APKINDEX.tar.gz'), makeIndex([], stranger));
  const refused = (await untilReason(primary, 'rejected', 'SIG_UNTRUSTED')).id;
  for (const batch of [id, refused]) {
    const preview = await run('preview', batch, '--json');
    assert.match(preview, /gnp/);
    assert.doesNotMatch(preview, unsafe);
    assert.equal((JSON.parse(preview) as { batch: string }).batch, batch);
  }
  assert.doesNotMatch(await run('approve', id, '--reason', evil), unsafe);
  await primary.untilGeneration(1);
  const history = await run('history', '--json');
  assert.doesNotMatch(history, unsafe);
  assert.match(JSON.stringify(JSON.parse(history)), /gnp/);
  for (const command of [['preview', id], ['history'], ['keys', 'list', '--json'], ['status']])
    assert.doesNotMatch(await run(...command), unsafe);
  assert.equal(await primary.stop(), 0);
});
