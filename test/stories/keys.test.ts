import assert from 'node:assert/strict';
import { mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { createSigningKey, makeIndex, makePackage, type SigningKey } from '../../src/apk/make.ts';
import { SampleRepository } from '../../src/cli/sample-builder.ts';
import { exec } from '../../src/system/exec.ts';
import { Primary } from '../support/primary.ts';

const main = join(import.meta.dirname, '../../src/main.ts');
const quick = { inbox: '    settle: 200ms', repositories: ['{arch}', 'main/{arch}', 'edge/{arch}'] };

/** A daemon that looks at its disk by itself only once a day: what happens sooner was an event. */
async function start(t: TestContext, more = 'schedule: { rescan: 1d }', inbox = quick.inbox): Promise<Primary> {
  const primary = await Primary.create({ ...quick, inbox, more });
  t.after(() => primary[Symbol.asyncDispose]());
  await primary.start();
  return primary;
}

/** No two packages share bytes: known ones would be taken from where they were published. */
let seeds = 100;

function keyFile(primary: Primary, name: string): string {
  return join(primary.directory, 'keys', name);
}

/** At once: a daemon that looks meanwhile would read half of it. */
async function put(file: string, content: string | Buffer): Promise<void> {
  const hidden = join(dirname(file), '.new');
  await writeFile(hidden, content);
  await rename(hidden, file);
}

async function publish(primary: Primary, path: string, key: SigningKey, version = '1-r0'): Promise<SampleRepository> {
  const repository = new SampleRepository(path, key);
  repository.set({ name: 'a', version, contentBytes: 1000, seed: ++seeds });
  await repository.write(primary.inbox);
  return repository;
}

/** Waits until the daemon has read these keys and no others. */
async function untilKeys(primary: Primary, ...keys: SigningKey[]): Promise<void> {
  const names = JSON.stringify(keys.map(({ name }) => name).toSorted());
  await primary.until(`the keys ${names}`, () => {
    const last = primary.log.split('\n').findLast((line) => line.includes('"event":"keys_changed"'));
    return last?.includes(`"keys":${names}`) === true;
  });
}

async function keyStates(primary: Primary): Promise<Record<string, string>> {
  const { repositories } = await primary.status();
  return Object.fromEntries(repositories.map((r) => [r.path, `${r.signed_by} ${r.key_state}`]));
}

async function lockstepd(primary: Primary, ...args: string[]) {
  const { code, stdout, stderr } = await exec([process.execPath, main, ...args, '--config', primary.configFile], {
    timeoutMs: 300_000,
  });
  return { code, out: stdout.replaceAll(primary.directory, '$T'), err: stderr.replaceAll(primary.directory, '$T') };
}

test('a key that is put there while the daemon runs lets through what was rejected for its absence', async (t) => {
  const primary = await start(t);
  const newer = createSigningKey('newer.rsa.pub');
  await publish(primary, 'main/x86_64', newer);
  const rejected = await primary.untilBatch('rejected');
  assert.deepEqual(
    rejected.reasons.map((r) => [r.code, r.detail]),
    [['SIG_UNTRUSTED', 'no trusted key among the signers: "newer.rsa.pub"']],
  );
  await put(keyFile(primary, newer.name), newer.publicPem);
  await primary.untilGeneration(1);
  assert.deepEqual(await keyStates(primary), { 'main/x86_64': 'newer.rsa.pub valid' });
});

test('without an event the rescan finds the key', async (t) => {
  const primary = await Primary.create({ ...quick, more: 'schedule: { rescan: 1s }' });
  t.after(() => primary[Symbol.asyncDispose]());
  // What lies behind a symlink is not watched.
  const link = join(primary.directory, 'link-to-keys');
  await symlink(join(primary.directory, 'keys'), link);
  const yaml = await readFile(primary.configFile, 'utf8');
  await writeFile(primary.configFile, yaml.replace(/keys: .*/, `keys: ${link}`));
  await primary.start();
  const newer = createSigningKey('newer.rsa.pub');
  await publish(primary, 'main/x86_64', newer);
  await primary.untilBatch('rejected');
  await put(keyFile(primary, newer.name), newer.publicPem);
  await primary.untilGeneration(1);
});

test('a removed key deletes nothing: what hangs on it is reported, and what it signs from then on is rejected', async (t) => {
  const primary = await start(t);
  const second = createSigningKey('second.rsa.pub');
  await put(keyFile(primary, second.name), second.publicPem);
  const old = await publish(primary, 'main/x86_64', primary.key);
  await primary.untilGeneration(1);
  await publish(primary, 'edge/x86_64', second);
  await primary.untilGeneration(2);
  assert.equal((await lockstepd(primary, 'keys', 'audit')).code, 0);
  const served = await readFile(join(primary.public, 'main/x86_64/APKINDEX.tar.gz'));

  await rm(keyFile(primary, primary.key.name));
  await primary.until('the log to tell', () => primary.log.includes('"event":"index_key_untrusted"'));
  assert.deepEqual(await keyStates(primary), {
    'edge/x86_64': 'second.rsa.pub valid',
    'main/x86_64': 'test-1.rsa.pub removed',
  });
  const listed = await lockstepd(primary, 'keys', 'list');
  assert.equal(listed.code, 0);
  assert.match(listed.out, /^second\.rsa\.pub \(RSA, 2048 bits\), inbox bpo: valid\n {2}directory {2}\$T\/keys\n/);
  assert.match(listed.out, /published {2}edge\/x86_64\n/);
  assert.match(listed.out, /not trusted any more:\n {2}main\/x86_64: test-1\.rsa\.pub \(removed\)\n/);
  const audited = await lockstepd(primary, 'keys', 'audit');
  assert.equal(audited.code, 4);
  assert.match(audited.out, /^UNTRUSTED main\/x86_64\/APKINDEX\.tar\.gz: SIG_UNTRUSTED no trusted key among/m);
  assert.match(
    audited.out,
    /^ok +edge\/x86_64\/APKINDEX\.tar\.gz: signed by second\.rsa\.pub\n +1 of its packages signed by second/m,
  );
  assert.match((await lockstepd(primary, 'status')).out, /main\/x86_64 hangs on the key test-1\.rsa\.pub \(removed\)/);
  const scrape = await (await fetch(`http://${await address(primary)}/metrics`)).text();
  assert.match(scrape, /^lockstep_index_key_untrusted\{repository="main\/x86_64"\} 1$/m);
  assert.match(scrape, /^lockstep_index_key_untrusted\{repository="edge\/x86_64"\} 0$/m);

  old.set({ name: 'b', version: '1-r0', contentBytes: 1000, seed: 2 });
  await old.write(primary.inbox);
  assert.equal((await primary.untilBatch('rejected')).reasons[0]?.code, 'SIG_UNTRUSTED');
  assert.ok(served.equals(await readFile(join(primary.public, 'main/x86_64/APKINDEX.tar.gz'))));
  const looks = primary.log.split('"event":"keys_changed"').length;
  await put(keyFile(primary, 'third.rsa.pub'), second.publicPem);
  await primary.until('another look', () => primary.log.split('"event":"keys_changed"').length > looks);

  // The same packages, signed by a key that is trusted.
  const again = new SampleRepository('main/x86_64', second);
  again.set({ name: 'c', version: '1-r0', contentBytes: 1000, seed: 3 });
  again.set({ name: 'd', version: '1-r0', contentBytes: 1000, seed: 4 });
  await again.write(primary.inbox);
  await primary.untilGeneration(3);
  assert.equal((await keyStates(primary))['main/x86_64'], 'second.rsa.pub valid');
  await primary.until('the log to tell the end', () => primary.log.includes('"event":"index_key_trusted"'));
  assert.equal(primary.log.split('"event":"index_key_untrusted"').length, 2, 'told once');
});

async function address(primary: Primary): Promise<string> {
  await primary.until('the address', () => primary.log.includes('"listen":"'));
  return /"listen":"([^"]+)"/.exec(primary.log)?.[1] ?? '';
}

test('another key under the name of the old one is noticed', async (t) => {
  const primary = await start(t);
  await publish(primary, 'main/x86_64', primary.key);
  await primary.untilGeneration(1);
  await put(keyFile(primary, primary.key.name), createSigningKey(primary.key.name).publicPem);
  await primary.until('the log to tell', () => primary.log.includes('"event":"index_key_untrusted"'));
  assert.deepEqual(await keyStates(primary), { 'main/x86_64': 'test-1.rsa.pub replaced' });
});

test('a broken key file takes the others away neither while the daemon runs nor on a reload, and is told', async (t) => {
  const primary = await start(t, 'schedule: { rescan: 1s }');
  await put(keyFile(primary, 'broken.rsa.pub'), 'half a k');
  await primary.until('the log to tell', () => primary.log.includes('"event":"key_unusable"'));
  const problem = (await primary.status()).key_problems[0];
  assert.deepEqual([problem?.builder, problem?.path], ['bpo', keyFile(primary, 'broken.rsa.pub')]);
  const reload = await primary.control('reload', {});
  assert.equal(reload.status, 422);
  assert.match(JSON.stringify(reload.body), /broken\.rsa\.pub: no usable public key/);
  const listed = await lockstepd(primary, 'keys', 'list');
  assert.equal(listed.code, 1);
  assert.match(listed.err, /inbox bpo: \$T\/keys\/broken\.rsa\.pub: no usable public key: expected a line/);
  await publish(primary, 'main/x86_64', primary.key);
  await primary.untilGeneration(1);
  const scrape = await (await fetch(`http://${await address(primary)}/metrics`)).text();
  assert.match(scrape, /^lockstep_keys_unusable\{builder="bpo"\} 1$/m);
  assert.match(
    (await lockstepd(primary, 'status')).out,
    /key of inbox bpo not used: .*broken\.rsa\.pub: no usable public key/,
  );
  await rm(keyFile(primary, 'broken.rsa.pub'));
  await primary.until('the problem to be over', async () => (await primary.status()).key_problems.length === 0);
});

test('a key that expires while the daemon runs stops counting at that second', async (t) => {
  const primary = await start(t);
  await publish(primary, 'main/x86_64', primary.key);
  await primary.untilGeneration(1);
  const until = `${new Date(Date.now() + 3000).toISOString().slice(0, 19)}Z`;
  await put(`${keyFile(primary, primary.key.name)}.validity`, `not_after = ${until}\n`);
  await primary.until('the log to tell', () => primary.log.includes('"event":"index_key_untrusted"'));
  assert.deepEqual(await keyStates(primary), { 'main/x86_64': 'test-1.rsa.pub expired' });
  await publish(primary, 'main/x86_64', primary.key, '2-r0');
  const { code, detail } = (await primary.untilBatch('rejected')).reasons[0] ?? {};
  assert.equal(code, 'SIG_UNTRUSTED');
  assert.ok(detail?.startsWith(`the key test-1.rsa.pub expired at ${until}`), detail);
  await rm(`${keyFile(primary, primary.key.name)}.validity`);
  await primary.untilGeneration(2);
});

test('what is rejected because its key is not valid yet goes out by itself when it is', async (t) => {
  const primary = await start(t, 'schedule: { rescan: 1s }');
  const inSeconds = (seconds: number): string => `${new Date(Date.now() + seconds * 1000).toISOString().slice(0, 19)}Z`;
  const limit = (from: string): Promise<void> =>
    put(`${keyFile(primary, primary.key.name)}.validity`, `not_before = ${from}\n`);
  const far = inSeconds(86_400);
  await limit(far);
  await primary.until('the limit to be read', () => primary.log.includes('"event":"keys_changed"'));
  await publish(primary, 'main/x86_64', primary.key);
  const { code, detail } = (await primary.untilBatch('rejected')).reasons[0] ?? {};
  assert.deepEqual(
    [code, detail?.slice(0, 60)],
    ['SIG_UNTRUSTED', `the key test-1.rsa.pub is not valid before ${far}`.slice(0, 60)],
  );
  const from = inSeconds(4);
  await limit(from);
  await primary.untilGeneration(1);
  assert.ok(Date.now() >= Date.parse(from));
});

test('scopes and algorithms of an inbox count for its batches, and a reload changes them', async (t) => {
  const primary = await start(t);
  const keys = join(primary.directory, 'keys');
  const yaml = await readFile(primary.configFile, 'utf8');
  const configure = async (lines: string): Promise<void> => {
    await writeFile(primary.configFile, yaml.replace(`    keys: ${keys}`, lines));
    assert.equal((await primary.control('reload', {})).status, 200);
  };
  await configure(`    keys: { dir: ${keys}, may_sign: ["edge/{arch}"] }`);
  await publish(primary, 'main/x86_64', primary.key);
  await publish(primary, 'edge/x86_64', primary.key);
  await primary.untilGeneration(1);
  const { code, path, detail } = (await primary.untilBatch('rejected')).reasons[0] ?? {};
  assert.deepEqual([code, path], ['OUT_OF_SCOPE', 'main/x86_64/APKINDEX.tar.gz']);
  assert.match(detail ?? '', /^the key test-1\.rsa\.pub signed for main\/x86_64, but may sign only edge\/\{arch\}/);
  assert.deepEqual(Object.keys(await keyStates(primary)), ['edge/x86_64']);
  await configure(`    keys: ${keys}\n    signature_algorithms: [RSA256]`);
  await primary.until('another rejection', async () =>
    (await primary.status()).batches.some((b) => b.reasons.some((r) => r.code === 'SIG_ALGORITHM')),
  );
  await configure(`    keys: ${keys}`);
  await primary.untilGeneration(2);
});

test('where package signatures are demanded, one by a key that was removed since is not taken from what is published', async (t) => {
  const inbox = '    settle: 200ms\n    package_signatures: require';
  const primary = await start(t, 'schedule: { rescan: 1s }', inbox);
  const [first, second] = [primary.key, createSigningKey('second.rsa.pub')];
  await put(keyFile(primary, second.name), second.publicPem);
  /** One package by the first key, in an index by the second. */
  const upload = async (path: string): Promise<string> => {
    const made = makePackage({ name: 'a', version: '1-r0', arch: 'x86_64', contentBytes: 1000, seed: 1 }, first);
    await mkdir(join(primary.inbox, path), { recursive: true });
    await writeFile(join(primary.inbox, path, made.file), made.bytes);
    await put(join(primary.inbox, path, 'APKINDEX.tar.gz'), makeIndex([made.entry], second, { description: path }));
    return `${path}/${made.file}`;
  };
  await untilKeys(primary, first, second);
  await upload('main/x86_64');
  await primary.untilGeneration(1);
  const before = await lockstepd(primary, 'keys', 'audit');
  assert.equal(before.code, 0, `${before.out}${before.err}`);
  await rm(keyFile(primary, first.name));
  await untilKeys(primary, second);
  const refused = await upload('edge/x86_64');
  const { code, path } = (await primary.untilBatch('rejected')).reasons[0] ?? {};
  assert.deepEqual([code, path], ['SIG_UNTRUSTED', refused]);
  const audited = await lockstepd(primary, 'keys', 'audit', '--json');
  assert.equal(audited.code, 4);
  const { indexes } = JSON.parse(audited.out) as { indexes: Record<string, unknown>[] };
  assert.deepEqual(
    indexes.map(({ repository, signed_by: by, packages, detail }) => [repository, by, packages, detail]),
    [
      [
        'main/x86_64',
        'second.rsa.pub',
        [{ key: 'test-1.rsa.pub', code: 'SIG_UNTRUSTED', packages: 1 }],
        'packages without the signature that this inbox requires',
      ],
    ],
  );
});

test('keys list needs no daemon, and says that it asked in vain', async (t) => {
  const primary = await Primary.create(quick);
  t.after(() => primary[Symbol.asyncDispose]());
  await put(`${keyFile(primary, primary.key.name)}.validity`, 'not_after = 2020-01-01\n');
  const { code, out, err } = await lockstepd(primary, 'keys', 'list', '--json');
  assert.equal(code, 0);
  assert.match(err, /no daemon answers/);
  const { keys, untrusted_indexes: untrusted } = JSON.parse(out) as {
    keys: Record<string, unknown>[];
    untrusted_indexes: unknown;
  };
  const { fingerprint, key_id: keyId, ...rest } = keys[0] ?? {};
  assert.match(String(fingerprint), /^[0-9a-f]{64}$/);
  assert.match(String(keyId), /^[0-9a-f]{32}$/);
  assert.deepEqual(rest, {
    inbox: 'bpo',
    name: 'test-1.rsa.pub',
    directory: '$T/keys',
    type: 'RSA',
    bits: 2048,
    may_sign: null,
    not_before: null,
    not_after: '2020-01-01T23:59:59Z',
    validity: 'expired',
    indexes: null,
  });
  assert.equal(untrusted, null);
  assert.deepEqual(await lockstepd(primary, 'keys', 'audit'), { code: 0, out: 'nothing is published\n', err: '' });
  assert.equal((await lockstepd(primary, 'keys', 'revoke')).code, 2);
});
