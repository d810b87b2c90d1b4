import assert from 'node:assert/strict';
import { mkdir, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import test from 'node:test';
import { childEnvironment, exec } from '../../src/system/exec.ts';
import { Primary, snapshot } from '../support/primary.ts';
import { freePort, missingProgram, startSshd } from '../support/sshd.ts';

/** A server that takes connections and never says a word. */
async function blackHole(): Promise<AsyncDisposable & { readonly port: number }> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => sockets.add(socket.on('error', () => {})));
  await new Promise<void>((done) => {
    server.listen(0, '127.0.0.1', done);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    port: address.port,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((done) => {
        server.close(done);
      });
    },
  };
}

test('mirrors that refuse, hang, lie about their key or are away delay nobody, say why, and catch up', async (t) => {
  const missing = missingProgram('sshd', 'rsync', 'rrsync', 'ssh-keygen');
  if (missing) return t.skip(`${missing} is not installed`);
  await using primary = await Primary.create();
  await using hole = await blackHole();
  const at = (name: string): string => join(primary.directory, 'mirrors', name);
  for (const name of ['good', 'changed', 'hangs', 'refuses']) await mkdir(at(name));
  await using sshd = await startSshd({ good: 'internal-sftp', rrsync: `rrsync -wo ${at('refuses')}` });
  const ssh = (o: { port?: number; key?: string }): string =>
    `host: 127.0.0.1, port: ${o.port ?? sshd.port}, user: ${sshd.user}, identity: ${sshd.identity('good')}, host_key: "${o.key ?? sshd.hostKeyFingerprint}", timeout: 5s`;
  const wrongKey = 'SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA';
  const mirrors = (mended: boolean): string =>
    [
      `  - { name: good, transport: { type: sftp, path: ${at('good')}, ${ssh({})} } }`,
      `  - { name: changed, transport: { type: sftp, path: ${at('changed')}, ${ssh(mended ? {} : { key: wrongKey })} } }`,
      `  - { name: hangs, transport: { type: sftp, path: ${at('hangs')}, ${ssh({ port: mended ? sshd.port : hole.port })} } }`,
      `  - { name: refuses, transport: { type: sftp, path: ${at('refuses')}, ${ssh({ port: mended ? sshd.port : refusingPort })} } }`,
      `  - { name: away, transport: { type: directory, path: ${at('away')} } }`,
    ].join('\n');
  const refusingPort = await freePort();
  await primary.configure({ mirrors: mirrors(false) });
  const repository = primary.repository('main/x86_64');
  for (let i = 0; i < 12; i++) repository.set({ name: `pkg-${i}`, version: '1.0-r0', contentBytes: 3000, seed: i });
  await primary.start();
  await repository.write(primary.inbox);
  await primary.untilInSync('good', 1);
  assert.deepEqual(await snapshot(at('good')), await snapshot(primary.public));

  const errorOf = async (name: string): Promise<string> =>
    (await primary.status()).mirrors.find((m) => m.name === name)?.last_error ?? '';
  const expected: Record<string, RegExp> = {
    changed: /^host_key: /,
    hangs: /^timeout: /,
    refuses: /^refused: /,
    away: /^not_found: /,
  };
  for (const [name, reason] of Object.entries(expected))
    await primary.until(`the reason of ${name}`, async () => reason.test(await errorOf(name)), 240_000);
  const states = Object.fromEntries((await primary.status()).mirrors.map((m) => [m.name, m.state]));
  assert.equal(states.changed, 'blocked', 'another host key waits for a person');
  assert.equal(states.good, 'in-sync');

  repository.set({ name: 'pkg-0', version: '1.1-r0', contentBytes: 3000, seed: 77 });
  await repository.write(primary.inbox);
  await primary.untilInSync('good', 2);
  assert.equal((await primary.status()).mirrors.find((m) => m.name === 'changed')?.generation, null);

  await primary.configure({ mirrors: mirrors(true) });
  await mkdir(at('away'));
  primary.signal('SIGHUP');
  await primary.until('the reload', () => primary.log.includes('"event":"reloaded"'));
  assert.deepEqual(await primary.control('push', { mirror: 'nowhere' }).then((a) => a.status), 404);
  assert.equal((await primary.control('push', { mirror: 'away' })).status, 202);
  for (const name of ['changed', 'hangs', 'refuses', 'away']) {
    await primary.untilInSync(name, 2);
    const { generation, last_error: lastError } = (await primary.status()).mirrors.find((m) => m.name === name) ?? {};
    assert.deepEqual([generation, lastError], [2, null], name);
    const files = await snapshot(at(name));
    assert.deepEqual(
      files.get('main/x86_64/APKINDEX.tar.gz'),
      (await snapshot(primary.public)).get('main/x86_64/APKINDEX.tar.gz'),
    );
    for (const entry of repository.entries)
      assert.ok(files.has(`main/x86_64/${entry.name}-${entry.version}.apk`), `${name} has ${entry.name}`);
  }
});

test('a mirror that fills up keeps what it served, the others go on, and it catches up when there is room', async (t) => {
  const missing = missingProgram('sshd', 'ssh-keygen', 'mount');
  if (missing) return t.skip(`${missing} is not installed`);
  await using primary = await Primary.create();
  const small = join(primary.directory, 'mirrors/small');
  const usb = join(primary.directory, 'mirrors/usb');
  for (const path of [small, usb]) await mkdir(path);
  const mount = await exec(['mount', '-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', small], {
    env: childEnvironment(),
    timeoutMs: 120_000,
  });
  if (mount.code !== 0) return t.skip(`a small tmpfs cannot be mounted here: ${mount.stderr.trim()}`);
  try {
    await using sshd = await startSshd({ sftp: 'internal-sftp' });
    await primary.configure({
      mirrors: [
        `  - { name: small, transport: { type: sftp, path: ${small}, host: 127.0.0.1, port: ${sshd.port}, user: ${sshd.user}, identity: ${sshd.identity('sftp')}, host_key: "${sshd.hostKeyFingerprint}" } }`,
        `  - { name: usb, transport: { type: directory, path: ${usb} } }`,
      ].join('\n'),
    });
    const repository = primary.repository('main/x86_64');
    for (let i = 0; i < 5; i++) repository.set({ name: `pkg-${i}`, version: '1.0-r0', contentBytes: 100_000, seed: i });
    await primary.start();
    await repository.write(primary.inbox);
    await primary.untilInSync('small', 1);
    const before = await snapshot(small);
    for (let i = 0; i < 5; i++)
      repository.set({ name: `pkg-${i}`, version: '1.1-r0', contentBytes: 700_000, seed: 10 + i });
    await repository.write(primary.inbox);
    await primary.untilInSync('usb', 2);
    await primary.until(
      'the reason',
      async () =>
        ((await primary.status()).mirrors.find((m) => m.name === 'small')?.last_error ?? '').startsWith('disk_full: '),
      60_000,
    );
    const full = await snapshot(small);
    for (const [path, file] of before) assert.deepEqual(full.get(path), file, `${path} is served as before`);
    const remount = await exec(['mount', '-o', 'remount,size=64m', small], {
      env: childEnvironment(),
      timeoutMs: 120_000,
    });
    assert.equal(remount.code, 0, remount.stderr);
    await primary.control('push', { mirror: 'small' });
    await primary.untilInSync('small', 2);
    const after = await snapshot(small);
    for (const [path, file] of await snapshot(usb)) assert.deepEqual(after.get(path), file, path);
  } finally {
    await exec(['umount', '-l', small], { env: childEnvironment(), timeoutMs: 120_000 });
    await rm(small, { recursive: true, force: true });
  }
});
