import assert from 'node:assert/strict';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import test from 'node:test';
import { serveDirectories } from '../../src/cli/demo-web.ts';
import type { MirrorStatus } from '../../src/observe/status.ts';
import { childEnvironment, exec, type ExecResult } from '../../src/system/exec.ts';
import { Primary, snapshot } from '../support/primary.ts';
import { startRsyncd } from '../support/rsyncd.ts';
import { missingProgram, startSshd } from '../support/sshd.ts';

const script = resolve(import.meta.dirname, '../../config/pull/lockstep-pull');

/** Writes the configuration of lockstep-pull for a mirror. */
async function pullConfig(primary: Primary, mirror: string, from: string): Promise<string> {
  const file = join(primary.directory, `${mirror}.conf`);
  const lines = [`FROM=${from}`, `TO=${join(primary.directory, 'mirrors', mirror)}`, `LOG=${file}.log`];
  await writeFile(file, `${lines.join('\n')}\n`);
  return file;
}

function pull(config: string): Promise<ExecResult> {
  return exec([script, '--config', config], { env: childEnvironment(), timeoutMs: 300_000 });
}

async function mirrorOf(primary: Primary, name: string): Promise<MirrorStatus> {
  const found = (await primary.status()).mirrors.find((mirror) => mirror.name === name);
  if (!found) throw new Error(`no mirror ${name}`);
  return found;
}

/** A pull that was told to begin writes of a generation when the files of it are all in place: the probe sees it before. */
async function untilPulled(primary: Primary, config: string, generation: number): Promise<void> {
  const hasSaid = async (): Promise<boolean> =>
    (await readFile(`${config}.log`, 'utf8')).includes(`: generation ${generation}\n`);
  await primary.until(`the pull to say generation ${generation}`, hasSaid);
}

/** What a mirror serves is what the primary does. */
async function assertSame(primary: Primary, mirror: string): Promise<void> {
  const there = await snapshot(join(primary.directory, 'mirrors', mirror));
  for (const path of there.keys()) if (path.startsWith('.lockstep-pull/')) there.delete(path);
  assert.deepEqual(there, await snapshot(primary.public));
}

test('a mirror that is told to pull comes in step by itself, and is in step only when that was seen', async (t) => {
  const missing = missingProgram('sshd', 'rsync', 'flock', 'ssh-keygen');
  if (missing) return t.skip(`${missing} is not installed`);
  await using primary = await Primary.create();
  await chmod(primary.directory, 0o755);
  const oslo = join(primary.directory, 'mirrors/oslo');
  await mkdir(oslo);
  await using rsyncd = await startRsyncd(primary.public);
  const config = await pullConfig(primary, 'oslo', rsyncd.url);
  await using web = await serveDirectories(new Map([['oslo', oslo]]));
  await using sshd = await startSshd({ pull: `${script} --config ${config}`, liar: 'echo started' });
  const trigger = (name: string, account: string): string =>
    `  - { name: ${name}, url: "http://127.0.0.1:${web.port}/${name}/", transport: { type: trigger, host: 127.0.0.1, port: ${sshd.port}, user: ${sshd.user}, identity: ${sshd.identity(account)}, host_key: "${sshd.hostKeyFingerprint}", min_interval: 1s } }`;
  await primary.configure({ mirrors: [trigger('oslo', 'pull'), trigger('liar', 'liar')].join('\n') });
  const repository = primary.repository('main/x86_64');
  for (let i = 0; i < 12; i++) repository.set({ name: `pkg-${i}`, version: '1.0-r0', contentBytes: 3000, seed: i });
  await primary.start();
  for (const generation of [1, 2, 3]) {
    repository.set({ name: 'pkg-0', version: `1.${generation}-r0`, contentBytes: 3000, seed: 70 + generation });
    await repository.write(primary.inbox);
    await primary.untilGeneration(generation);
    await primary.untilInSync('oslo', generation);
    await untilPulled(primary, config, generation);
    await assertSame(primary, 'oslo');
  }
  await primary.until('the liar to be told', async () => (await mirrorOf(primary, 'liar')).state === 'pushing');
  const liar = await mirrorOf(primary, 'liar');
  assert.equal(liar.last_error, null);
  assert.equal(liar.generation, null, 'exit code 0 is no proof');

  // What was confirmed outlives a restart; the mirror is not told again for nothing.
  await primary.stop('SIGKILL');
  await primary.start();
  await primary.untilInSync('oslo', 3);
  assert.ok(!primary.log.includes('"mirror":"oslo"'), primary.log);
});

test('a mirror that pulls when it likes is shown by what it serves, its period is estimated and outlives a restart', async (t) => {
  const missing = missingProgram('rsync', 'flock');
  if (missing) return t.skip(`${missing} is not installed`);
  await using primary = await Primary.create();
  await chmod(primary.directory, 0o755);
  const quito = join(primary.directory, 'mirrors/quito');
  await mkdir(quito);
  await using rsyncd = await startRsyncd(primary.public);
  await using web = await serveDirectories(new Map([['quito', quito]]));
  const config = await pullConfig(primary, 'quito', rsyncd.url);
  await primary.configure({
    mirrors: `  - { name: quito, url: "http://127.0.0.1:${web.port}/quito/", transport: { type: pull } }`,
    more: 'schedule: { probe: 1s }',
  });
  const repository = primary.repository('main/x86_64');
  await primary.start();
  assert.equal((await mirrorOf(primary, 'quito')).state, 'unknown');
  for (let generation = 1; generation <= 5; generation++) {
    repository.set({ name: 'pkg', version: `1.${generation}-r0`, contentBytes: 3000, seed: generation });
    await repository.write(primary.inbox);
    await primary.untilGeneration(generation);
    await primary.until(
      'the mirror to be seen behind',
      async () => (await mirrorOf(primary, 'quito')).state === 'behind',
    );
    const { code, stderr } = await pull(config);
    assert.equal(code, 0, stderr);
    await primary.untilInSync('quito', generation);
    await assertSame(primary, 'quito');
  }
  const before = await mirrorOf(primary, 'quito');
  assert.equal(before.transport, 'pull');
  assert.ok((before.sync_period_seconds ?? 0) >= 1, JSON.stringify(before));
  assert.ok(before.next_sync_at !== null && !before.sync_overdue);
  const refused = await primary.control('push', { mirror: 'quito' });
  assert.equal(refused.status, 409);
  assert.match(JSON.stringify(refused.body), /pulls by itself/);

  await primary.stop();
  await primary.start();
  const after = await mirrorOf(primary, 'quito');
  assert.deepEqual([after.state, after.generation], ['in-sync', 5]);
  assert.equal(after.sync_period_seconds, before.sync_period_seconds);
  // It is behind again, for more than two periods.
  repository.set({ name: 'pkg', version: '2.0-r0', contentBytes: 3000, seed: 99 });
  await repository.write(primary.inbox);
  await primary.until('it to be overdue', async () => (await mirrorOf(primary, 'quito')).sync_overdue, 500_000);
});
