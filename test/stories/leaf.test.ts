/** A lockstepd that is fed by another one: what goes out together, what waits, what an upstream's removals mean. Real daemons. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { dirname, join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { serveDirectories } from '../../src/cli/demo-web.ts';
import { errnoOf } from '../../src/errors.ts';
import { renderStatusText } from '../../src/observe/status-text.ts';
import { configureLeaf, createLeaf, feeding, makeIn } from '../support/leaf.ts';
import { Primary, snapshot } from '../support/primary.ts';
import { missingProgram, type Sshd, startSshd } from '../support/sshd.ts';

const run = promisify(execFile);
const arches = ['x86_64', 'aarch64', 'riscv64'] as const;
const settings = 'schedule: { rescan: 1s, probe: 1s }';

/** Content of each file below `directory`, its own trace file left out; looked at anew when a file leaves meanwhile. */
async function contentOf(directory: string): Promise<Map<string, string>> {
  const files = await snapshot(directory).catch((error: unknown) => {
    if (errnoOf(error) !== 'ENOENT' || !existsSync(directory)) throw error;
    return null;
  });
  if (files === null) return contentOf(directory);
  files.delete('lockstep.json');
  return new Map([...files].map(([path, { content }]) => [path, content]));
}

async function untilEqual(from: Primary, to: Primary): Promise<void> {
  const wanted = await contentOf(from.public);
  assert.ok(wanted.size > 0);
  await to.until('the leaf to serve what its upstream serves', async () => {
    if (!existsSync(to.public)) return false;
    const found = await contentOf(to.public);
    return [...wanted].every(([path, content]) => found.get(path) === content);
  });
}

/** One package for each architecture, brought into the inbox under its lock, as rrsync does. */
async function upload(primary: Primary, version: string, more: readonly string[] = []): Promise<void> {
  const built = await makeIn(primary.directory, 'builder');
  for (const arch of arches) {
    const repository = repositoryOf(primary, arch);
    repository.set({ name: 'hello', version, contentBytes: 900, seed: 1 });
    for (const name of more) repository.set({ name, version: '1-r0', contentBytes: 300, seed: 2 });
    await repository.write(built);
  }
  await run('flock', ['-x', primary.inbox, 'cp', '-r', `${built}/.`, primary.inbox]);
}

const known = new WeakMap<Primary, Map<string, ReturnType<Primary['repository']>>>();
function repositoryOf(primary: Primary, arch: string): ReturnType<Primary['repository']> {
  const found = known.get(primary) ?? new Map<string, ReturnType<Primary['repository']>>();
  known.set(primary, found);
  const repository = found.get(arch) ?? primary.repository(`main/${arch}`);
  found.set(arch, repository);
  return repository;
}

async function heldFor(primary: Primary, code: string): Promise<{ id: string; detail: string }> {
  let found: { id: string; detail: string } | undefined;
  await primary.until(`a batch held for ${code}`, async () => {
    const batch = (await primary.status()).batches.find(
      (b) => b.state === 'held' && b.reasons.some((reason) => reason.code === code),
    );
    const reason = batch?.reasons.find((one) => one.code === code);
    found = batch && reason && { id: batch.id, detail: reason.detail };
    return found !== undefined;
  });
  assert.ok(found);
  return found;
}

async function pair(
  t: TestContext,
  { upstream = '', leaf = '', inbox = '    settle: 1s' } = {},
): Promise<{ primary: Primary; leaf: Primary }> {
  const primary = await Primary.create();
  t.after(() => primary[Symbol.asyncDispose]());
  const fed = await createLeaf(primary, { inbox, more: `${settings}\n${leaf}` });
  t.after(() => fed[Symbol.asyncDispose]());
  await primary.configure({ inbox: '    settle: 2s', mirrors: feeding(fed), more: `${settings}\n${upstream}` });
  await fed.start();
  await primary.start();
  return { primary, leaf: fed };
}

const transports: readonly {
  name: string;
  needs: readonly string[];
  account: (inbox: string) => string;
  path: string;
}[] = [
  {
    name: 'rsync',
    needs: ['sshd', 'rrsync', 'rsync'],
    account: (inbox) => `rrsync -wo -munge ${inbox}`,
    path: '/',
  },
  { name: 'sftp', needs: ['sshd'], account: () => 'internal-sftp', path: '' },
];

for (const { name, needs, account, path } of transports) {
  test(`over ${name}: each batch of several architectures is one generation of the leaf, byte for byte, and its URL shows the lag`, {
    timeout: 600_000,
  }, async (t) => {
    const missing = missingProgram(...needs);
    if (missing !== undefined) return t.skip(`${missing} absent`);
    const primary = await Primary.create();
    t.after(() => primary[Symbol.asyncDispose]());
    const leaf = await createLeaf(primary, { inbox: '    settle: 1d', more: 'schedule: { rescan: 30s }' });
    t.after(() => leaf[Symbol.asyncDispose]());
    const sshd: Sshd = await startSshd({ upstream: account(leaf.inbox) });
    t.after(() => sshd[Symbol.asyncDispose]());
    const web = await serveDirectories(new Map([['leaf', leaf.public]]));
    t.after(() => web[Symbol.asyncDispose]());
    const login = `host: ${sshd.host}, port: ${sshd.port}, user: ${sshd.user}, host_key: "${sshd.hostKeyFingerprint}", identity: ${sshd.identity('upstream')}`;
    await primary.configure({
      inbox: '    settle: 2s',
      mirrors: `  - name: leaf\n    url: http://127.0.0.1:${web.port}/leaf/\n    transport: { type: ${name}, path: ${path || leaf.inbox}, ${login} }\n`,
      more: settings,
    });
    await leaf.start();
    await primary.start();
    for (const [n, version] of ['1-r0', '2-r0', '3-r0'].entries()) {
      await upload(primary, version);
      const last = `hello-${version}.apk`;
      await primary.until('the batch to be out', () =>
        arches.every((arch) => existsSync(join(primary.public, 'main', arch, last))),
      );
      await untilEqual(primary, leaf);
      // Long before it settles: the trace says that all is there. It is served a moment before that is on record.
      await leaf.untilGeneration(n + 1);
      assert.equal((await leaf.status()).generation, n + 1, 'one generation for all architectures');
      await primary.until('the probe to see it at the leaf', async () => {
        const { generation, mirrors } = await primary.status();
        return mirrors[0]?.state === 'in-sync' && mirrors[0].observed_generation === generation;
      });
    }
    await leaf.until(
      'the whole to be on record',
      async () => (await leaf.status()).upstreams[0]?.indexes_lacking === 0,
    );
    const [told] = (await leaf.status()).upstreams;
    assert.deepEqual(
      [told?.builder, told?.indexes, told?.indexes_lacking, told?.generation, told?.upstream_generation],
      ['bpo', 3, 0, 3, (await primary.status()).generation],
    );
    const text = renderStatusText(await leaf.status(), { terminal: false, nowMs: Date.now() });
    assert.match(
      text,
      /upstream bpo \(says it is .*\): brought its generation \d+, published there .*; the newest of it here is our generation 3/,
    );
    const trace = JSON.parse(await readFile(join(leaf.public, 'lockstep.json'), 'utf8')) as { generation: number };
    assert.equal(trace.generation, 3, 'its own trace, with its own numbers');
  });
}

/** Copies files of the public tree of `primary` into the inbox of `leaf`. */
async function bring(primary: Primary, leaf: Primary, wanted: (path: string) => boolean): Promise<void> {
  for (const path of (await snapshot(primary.public)).keys()) {
    if (!wanted(path)) continue;
    await mkdir(dirname(join(leaf.inbox, path)), { recursive: true });
    await copyFile(join(primary.public, path), join(leaf.inbox, path));
  }
}

const never = '    settle: 1d';

test('nothing goes out before everything that the trace names is there; temporary files and the trace itself are nothing to publish', {
  timeout: 600_000,
}, async (t) => {
  const primary = await Primary.create({ more: settings });
  t.after(() => primary[Symbol.asyncDispose]());
  const leaf = await createLeaf(primary, { inbox: never, more: settings });
  t.after(() => leaf[Symbol.asyncDispose]());
  await primary.start();
  await leaf.start();
  await upload(primary, '1-r0');
  await primary.until('all of it', async () => (await primary.status()).repositories.length === 3);
  await writeFile(join(leaf.inbox, '.lockstep.json.lockstepd-0a1b2c'), '{');
  await bring(primary, leaf, (path) => path.endsWith('.apk') || path.includes('x86_64'));
  await writeFile(join(leaf.inbox, 'main/x86_64/.APKINDEX.tar.gz.lockstepd-0a1b2c'), 'half');
  await leaf.untilBatch('waiting');
  await bring(primary, leaf, (path) => path.endsWith('.json') || path.includes('riscv64'));
  await leaf.until('two indexes to wait', async () => (await leaf.status()).upstreams[0]?.indexes_lacking === 3);
  await sleep(2500);
  assert.equal((await leaf.status()).generation, 0, 'two of three are not all');
  await bring(primary, leaf, (path) => path.includes('aarch64'));
  await leaf.untilGeneration(1);
  const { repositories, generation } = await leaf.status();
  assert.deepEqual([repositories.length, generation], [3, 1]);

  // The next generation begins to arrive: the old trace does not name what lies there now.
  await upload(primary, '2-r0');
  await primary.until('the second batch', () =>
    arches.every((arch) => existsSync(join(primary.public, 'main', arch, 'hello-2-r0.apk'))),
  );
  await bring(primary, leaf, (path) => path.endsWith('.apk') || path === 'main/aarch64/APKINDEX.tar.gz');
  await leaf.untilBatch('waiting');
  await sleep(1500);
  assert.equal((await leaf.status()).generation, 1);
  await bring(primary, leaf, () => true);
  await leaf.untilGeneration(2);
  assert.equal((await leaf.status()).generation, 2);
  assert.deepEqual(await contentOf(leaf.public), await contentOf(primary.public));
});

const lies: readonly (readonly [string, (inbox: string) => Promise<void>])[] = [
  ['no trace at all', async () => {}],
  ['a trace that is no JSON', (inbox) => writeFile(join(inbox, 'lockstep.json'), '{"generation": 9')],
  ['a trace that names what never comes', (inbox) => writeFile(join(inbox, 'lockstep.json'), traceOf('f'.repeat(64)))],
  ['a trace of 5 MiB', (inbox) => writeFile(join(inbox, 'lockstep.json'), ' '.repeat(5 * 1024 * 1024))],
];

function traceOf(sha256: string): string {
  const repositories = [{ path: 'main/armv7', index: 'APKINDEX.tar.gz', index_sha256: sha256, packages: 1 }];
  return JSON.stringify({ version: 1, generation: 99, published_at: '2026-01-01T00:00:00Z', repositories });
}

test('a trace that is missing or lies costs the settle time and nothing else', { timeout: 600_000 }, async (t) => {
  const primary = await Primary.create({ more: settings });
  t.after(() => primary[Symbol.asyncDispose]());
  await primary.start();
  await upload(primary, '1-r0');
  await primary.until('all of it', async () => (await primary.status()).repositories.length === 3);
  for (const [what, lie] of lies) {
    await using leaf = await createLeaf(primary, { inbox: '    settle: 500ms', more: settings });
    await leaf.start();
    await lie(leaf.inbox);
    await bring(primary, leaf, (path) => !path.endsWith('.json'));
    await untilEqual(primary, leaf);
    await leaf.until(`a generation in spite of ${what}`, async () => (await leaf.status()).generation > 0);
  }
});

test('an upstream that rolls back is held by the leaf as a replay until somebody approves; it never goes back by itself', {
  timeout: 600_000,
}, async (t) => {
  const { primary, leaf } = await pair(t);
  await upload(primary, '1-r0');
  await primary.until('the first', async () => (await primary.status()).repositories.length === 3);
  const first = (await primary.status()).generation;
  await untilEqual(primary, leaf);
  const before = await contentOf(primary.public);
  await upload(primary, '2-r0');
  await primary.until('the second', () =>
    arches.every((arch) => existsSync(join(primary.public, 'main', arch, 'hello-2-r0.apk'))),
  );
  await untilEqual(primary, leaf);
  const served = await contentOf(leaf.public);

  const back = await primary.control('rollback', {
    to: first,
    repository: null,
    who: 'alice',
    why: 'breaks',
    dry_run: false,
  });
  assert.equal(back.status, 200, JSON.stringify(back.body));
  const { detail } = await heldFor(leaf, 'REPLAY');
  assert.match(
    detail,
    /replaced after \d+; approve only if the operator of the upstream says that it was rolled back there/,
  );
  assert.deepEqual(await contentOf(leaf.public), served, 'it serves on what it has');
  await leaf.until('three indexes to lack', async () => (await leaf.status()).upstreams[0]?.indexes_lacking === 3);
  await leaf.stop();
  await leaf.start();
  const again = await heldFor(leaf, 'REPLAY');
  assert.deepEqual(await contentOf(leaf.public), served, 'also after a restart');

  // What is decided on is what lies there: after a start it has to be looked at first.
  await leaf.until('the approval', async () => {
    const approved = await leaf.control('approve', { batch: again.id, who: 'bob', why: 'asked alice' });
    return approved.status === 200;
  });
  await leaf.until('the leaf to go back too', async () => {
    const found = await contentOf(leaf.public);
    return arches.every(
      (arch) => found.get(`main/${arch}/APKINDEX.tar.gz`) === before.get(`main/${arch}/APKINDEX.tar.gz`),
    );
  });
  await upload(primary, '3-r0');
  await primary.until('the third', () =>
    arches.every((arch) => existsSync(join(primary.public, 'main', arch, 'hello-3-r0.apk'))),
  );
  await untilEqual(primary, leaf);
});

test('what an upstream prunes or recalls is not taken from the leaf; only an index, or a recall there, does that', {
  timeout: 600_000,
}, async (t) => {
  const { primary, leaf } = await pair(t, { upstream: 'publish: { grace: 0 }', leaf: 'publish: { grace: 7d }' });
  await upload(primary, '1-r0', ['extra']);
  await untilThere(primary, 'extra-1-r0.apk');
  await untilEqual(primary, leaf);
  await upload(primary, '2-r0');
  await untilThere(primary, 'hello-2-r0.apk');
  await untilEqual(primary, leaf);
  const old = (directory: string): boolean => existsSync(join(directory, 'main/x86_64/hello-1-r0.apk'));
  await primary.until('the prune of the inbox', () => !old(leaf.inbox), 240_000);
  assert.ok(old(leaf.public), 'the leaf has a grace of its own');

  const recalled = 'main/x86_64/extra-1-r0.apk';
  const body = { package: recalled, all: false, who: 'alice', why: 'leaked', dry_run: false };
  assert.equal((await primary.control('recall', body)).status, 200);
  await primary.until('the recall to reach the inbox', () => !existsSync(join(leaf.inbox, recalled)));
  await leaf.stop();
  await leaf.start();
  await sleep(2500);
  assert.ok(existsSync(join(leaf.public, recalled)), 'an index names it still');
  const quiet = (await leaf.status()).batches.filter((batch) => batch.state !== 'published');
  assert.deepEqual(quiet, [], 'what the upstream removed is no batch of the leaf');
  assert.equal((await leaf.control('recall', { ...body, who: 'bob' })).status, 200);
  assert.ok(!existsSync(join(leaf.public, recalled)));
});

async function untilThere(primary: Primary, file: string): Promise<void> {
  await primary.until(file, () => arches.every((arch) => existsSync(join(primary.public, 'main', arch, file))));
}

test('a repository that leaves at the upstream waits at the leaf for a person', { timeout: 600_000 }, async (t) => {
  const { primary, leaf } = await pair(t);
  await upload(primary, '1-r0');
  await untilThere(primary, 'hello-1-r0.apk');
  await untilEqual(primary, leaf);
  await rm(join(primary.inbox, 'main/riscv64'), { recursive: true });
  const { id } = await heldFor(primary, 'REPOSITORY_VANISHED');
  assert.equal((await primary.control('approve', { batch: id, who: 'alice', why: '' })).status, 200);
  const held = await heldFor(leaf, 'REPOSITORY_VANISHED');
  assert.ok(existsSync(join(leaf.public, 'main/riscv64/APKINDEX.tar.gz')));
  assert.equal((await leaf.control('approve', { batch: held.id, who: 'bob', why: '' })).status, 200);
  await leaf.until('it to leave', () => !existsSync(join(leaf.public, 'main/riscv64/APKINDEX.tar.gz')));
  // Reconfigured as a builder's inbox it works on with what lies there.
  await leaf.stop();
  await configureLeaf(leaf, { more: settings });
  await leaf.start();
  assert.equal((await leaf.status()).repositories.length, 2);
});
