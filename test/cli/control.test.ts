import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, openSync, writeFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import test from 'node:test';
import { childEnvironment, exec } from '../../src/system/exec.ts';
import { Primary } from '../support/primary.ts';
import { removeAtEnd } from '../support/remove-at-end.ts';

const main = resolve(import.meta.dirname, '../../src/main.ts');

test('a configuration that was broken meanwhile does not hide the daemon that runs; a reload names the problems', async () => {
  await using primary = await Primary.create();
  const lockstepd = (...args: string[]) =>
    exec([process.execPath, main, ...args, '--config', primary.configFile], {
      env: childEnvironment(),
      timeoutMs: 120_000,
    });
  assert.equal((await lockstepd('status')).code, 75);
  await primary.start();
  await writeFile(primary.configFile, `${await readFile(primary.configFile, 'utf8')}bogus: 1\nworkers: none\n`);
  const status = await lockstepd('status');
  assert.deepEqual([status.code, status.stdout], [0, 'nothing published yet; 0 mirrors\n'], status.stderr);
  const reload = await lockstepd('reload');
  assert.equal(reload.code, 78);
  assert.match(
    reload.stderr,
    /^.*lockstepd\.yaml:\d+:1: bogus: unknown key, .*\n.*lockstepd\.yaml:\d+:\d+: workers: .*\n$/,
  );
  await writeFile(primary.configFile, 'root: [');
  assert.equal((await lockstepd('status')).code, 78);
});

test('what cannot be written to the standard output is no success', async (t) => {
  if (!existsSync('/dev/full')) return t.skip('/dev/full absent');
  const child = spawn(process.execPath, [main, 'generate', 'rules'], {
    stdio: ['ignore', openSync('/dev/full', 'w'), 'pipe'],
  });
  let said = '';
  child.stderr?.on('data', (chunk: Buffer) => (said += chunk.toString()));
  const [code] = await new Promise<unknown[]>((done) => child.once('close', (...args) => done(args)));
  assert.equal(code, 1);
  assert.match(said, /^lockstepd: standard output: ENOSPC: .*: what was written there is not whole\n$/);
});

test('a socket that this user may not open is no reason to try later', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'lockstepd-socket-'));
  removeAtEnd(t, directory);
  chmodSync(directory, 0o755);
  const [socket, config] = [join(directory, 's.sock'), join(directory, 'lockstepd.yaml')];
  const server = createServer();
  t.after(() => server.close());
  await new Promise<void>((done) => server.listen(socket, done));
  chmodSync(socket, 0o000);
  writeFileSync(config, `root: /srv/mirror\nstate: /var/lib/lockstepd\nsocket: ${socket}\n`);
  const argv = [process.execPath, main, 'status', '--config', config] as const;
  // Root may open everything, unless it is told not to.
  const asRoot = ['setpriv', '--bounding-set', '-dac_override,-dac_read_search', ...argv] as const;
  const { code, stderr } = await exec(process.getuid?.() === 0 ? asRoot : argv, {
    env: childEnvironment(),
    timeoutMs: 120_000,
  });
  assert.deepEqual([code, /may not be asked by this user/.test(stderr)], [1, true], stderr);
});

test('Ctrl-C ends what is asked for in words', async (t) => {
  const { promise: asked, resolve: isAsked } = Promise.withResolvers<void>();
  const server = createServer((socket) => {
    socket.on('error', () => {});
    isAsked();
  });
  t.after(() => server.close());
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  const url = `http://127.0.0.1:${address.port}/`;
  const mirrors = `  - { name: slow, url: "${url}", transport: { type: pull } }\n`;
  await using primary = await Primary.create({ mirrors });
  const child = spawn(process.execPath, [main, 'check', '--online', '--config', primary.configFile], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
  const closed = new Promise<unknown[]>((done) => child.once('close', (...args) => done(args)));
  await asked;
  child.kill('SIGINT');
  assert.deepEqual([(await closed)[0], said], [1, 'lockstepd: stopped by SIGINT\n']);
});
