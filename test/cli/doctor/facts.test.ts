import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { type Account, type PathFacts, parseAccounts } from '../../../src/cli/doctor/accounts.ts';
import { type Machine, systemMachine } from '../../../src/cli/doctor/machine.ts';
import {
  daemonPid,
  gatherClock,
  gatherLimits,
  gatherPrograms,
  optionsIn,
} from '../../../src/cli/doctor/machine-facts.ts';
import { daemonAccount, gatherUploads, secretsOf } from '../../../src/cli/doctor/path-facts.ts';
import { gatherService, gatherSystemd, unitText } from '../../../src/cli/doctor/service-facts.ts';
import { loadConfig } from '../../../src/config/load.ts';
import type { Config } from '../../../src/config/schema.ts';
import { good, world } from '../../config/world.ts';
import { Primary } from '../../support/primary.ts';

interface Fake {
  readonly files?: Readonly<Record<string, string>>;
  readonly paths?: Readonly<Record<string, Omit<Extract<PathFacts, { uid: number }>, 'path' | 'dev'>>>;
  /** Program with its arguments -> what it says; what is not here ends with another code than 0. */
  readonly says?: Readonly<Record<string, string>>;
  readonly uid?: number;
}

function machine({ files = {}, paths = {}, says = {}, uid = 0 }: Fake): Machine {
  const names = new Set(Object.keys(says).map((line) => line.split(' ')[0] ?? ''));
  return {
    uid,
    text: (path) => Promise.resolve(files[path] ?? null),
    path: (path) => {
      const found = paths[path];
      return Promise.resolve(found ? { path, dev: 1, ...found } : { path, kind: 'absent' });
    },
    disk: (path) => Promise.resolve({ path, space: null }),
    real: (path) => Promise.resolve(path),
    program: (name) => (names.has(name) ? name : null),
    run: (argv) => Promise.resolve(says[argv.join(' ')] ?? null),
  };
}

async function config(t: TestContext, text = good): Promise<Config> {
  return world(t).load(text, { ignoreDisk: true });
}

const help = `usage: rrsync [-ro | -wo]
              DIR

options:
  -ro            Allow only reading from the DIR. Implies -no-del and -no-
                 lock.
  -wo            Allow only writing to the DIR.
  -no-del        Disable rsync's --delete* and --remove* options.
  -help, -h      Output this help message and exit.
`;

test('programs are asked for their versions, rrsync for its options', async (t) => {
  const says = {
    'rsync --version': 'rsync  version 3.5.0  protocol version 32\n',
    'rrsync -h': help,
    'sshd -V': 'OpenSSH_9.2p1 Debian-2, OpenSSL 3.0.19\n',
  };
  const facts = await gatherPrograms(machine({ says }), await config(t), true);
  assert.deepEqual(
    [facts.rsync, facts.sshd, facts.rclone, facts.rrsync],
    ['3.5.0', '9.2p1', null, { path: 'rrsync', options: ['-ro', '-wo', '-no-del'] }],
  );
  assert.deepEqual(facts.uses, { rsyncMirrors: true, rcloneMirrors: false, uploads: true });
  const none = await gatherPrograms(machine({}), await config(t), false);
  assert.deepEqual([none.rsync, none.rrsync, none.sshd], [null, null, null]);
});

test('the real rrsync here tells its options in the form that is read', async (t) => {
  const real = systemMachine(process.env, new AbortController().signal);
  const rrsync = real.program('rrsync');
  if (rrsync === null) return t.skip('rrsync absent');
  const options = optionsIn((await real.run([rrsync, '-h'])) ?? '');
  for (const option of ['-ro', '-wo', '-munge', '-no-del', '-no-lock']) assert.ok(options.includes(option), option);
});

test('the clock is asked of systemd first, then of chrony, then of a file', async () => {
  const timedatectl = 'timedatectl show -p NTPSynchronized --value';
  const chrony = { 'chronyc -n tracking': 'Reference ID : 0\nLeap status     : Not synchronised\n' };
  const file = { '/run/systemd/timesync/synchronized': { kind: 'file', uid: 0, gid: 0, mode: 0o644 } } as const;
  const ask = async (fake: Fake) => (await gatherClock(machine(fake))).synchronized;
  assert.deepEqual(await ask({ says: { [timedatectl]: 'yes\n', ...chrony } }), { by: 'timedatectl', value: true });
  assert.deepEqual(await ask({ says: { [timedatectl]: 'no\n' } }), { by: 'timedatectl', value: false });
  assert.deepEqual(await ask({ says: chrony }), { by: 'chronyc', value: false });
  assert.deepEqual(await ask({ says: { 'chronyc -n tracking': 'Leap status     : Normal\n' } }), {
    by: 'chronyc',
    value: true,
  });
  assert.deepEqual(await ask({ paths: file }), { by: 'systemd-timesyncd', value: true });
  assert.equal(await ask({}), null);
});

test('open files: the running daemon, else the unit, else this process', async (t) => {
  const limits = (hard: string): string =>
    `Limit  Soft Limit  Hard Limit  Units\nMax open files   1024   ${hard}   files\n`;
  const question = { config: await config(t), repositories: 3, pid: 7, unit: '[Service]\nLimitNOFILE=1024:65536\n' };
  const files = { '/proc/7/limits': limits('4096'), '/proc/self/limits': limits('unlimited') };
  const open = async (change: object) => (await gatherLimits(machine({ files }), { ...question, ...change })).openFiles;
  assert.deepEqual(await open({}), { limit: 4096, of: 'the daemon' });
  assert.deepEqual(await open({ pid: null }), { limit: 65_536, of: 'the unit' });
  assert.deepEqual(await open({ pid: null, unit: null }), { limit: Number.POSITIVE_INFINITY, of: 'this process' });
});

const accounts: Account[] = parseAccounts(
  'root:x:0:0::/root:/bin/sh\nlockstepd:x:990:990::/:/bin/false\nup:x:991:991::/home/up:/bin/sh\n',
  '',
);
const owned = (uid: number) => ({ kind: 'directory', uid, gid: uid, mode: 0o750 }) as const;

test('the account of the daemon: the process, the unit, the state, whoever looks', async () => {
  const paths = { '/proc/7': owned(5), '/state': owned(991) };
  const who = async (change: object, fake: Fake = { paths }) => {
    const known = { accounts, state: '/state', pid: 7, unit: 'User=lockstepd\n', ...change };
    return (await daemonAccount(machine(fake), known)).name;
  };
  assert.equal(await who({}), 'uid 5');
  assert.equal(await who({ pid: null }), 'lockstepd');
  assert.equal(await who({ pid: null, unit: null }), 'up');
  assert.equal(await who({ pid: null, unit: null }, { uid: 990 }), 'lockstepd');
});

test('uploads: sshd is asked for each account that owns an inbox, and its key files are read', async (t) => {
  const loaded = await config(t);
  const path = loaded.inboxes[0]?.path ?? '';
  const [daemon] = accounts.filter(({ uid }) => uid === 990);
  assert.ok(daemon);
  const fake = {
    paths: { [path]: owned(991), '/home/up/.ssh/authorized_keys': { kind: 'file', uid: 0, gid: 0, mode: 0o644 } },
    files: { '/home/up/.ssh/authorized_keys': 'a key\n' },
    says: { 'sshd -T -C user=up,host=localhost,addr=127.0.0.1': 'authorizedkeysfile .ssh/authorized_keys /etc/k/%u\n' },
  } as const;
  const [upload] = await gatherUploads(machine(fake), loaded, { accounts, daemon });
  assert.equal(upload?.account.name, 'up');
  assert.deepEqual(upload.keyFiles, [
    { path: '/home/up/.ssh/authorized_keys', text: 'a key\n', ownerUid: 0, mode: 0o644 },
    { path: '/etc/k/up', text: null, ownerUid: null, mode: null },
  ]);
  const own = { ...fake, paths: { [path]: owned(990) } };
  assert.deepEqual(await gatherUploads(machine(own), loaded, { accounts, daemon }), []);
});

test('systemd: the unit that counts, drop-ins, and what this version brings', async () => {
  const fake = {
    paths: { '/run/systemd/system': owned(0) },
    files: { '/usr/lib/systemd/system/lockstepd.service': 'User=lockstepd\n' },
    says: { 'systemctl is-active x': '' },
  } as const;
  const found = await gatherSystemd(machine(fake));
  assert.equal(found?.unit?.path, '/usr/lib/systemd/system/lockstepd.service');
  assert.equal(found.enabled, false);
  assert.match(unitText(found) ?? '', /^User=lockstepd/);
  const shadowed = { ...fake, files: { ...fake.files, '/etc/systemd/system/lockstepd.service': 'User=x\n' } };
  assert.equal((await gatherSystemd(machine(shadowed)))?.unit?.path, '/etc/systemd/system/lockstepd.service');
  assert.equal(await gatherSystemd(machine({})), null);
  assert.equal(unitText(null), null);
});

test('systemd: the unit that is shipped is found beside the sources', async () => {
  const real = systemMachine(process.env, new AbortController().signal);
  const withSystemd: Machine = { ...real, path: (path) => Promise.resolve({ path, dev: 1, ...owned(0) }) };
  assert.match((await gatherSystemd(withSystemd))?.shipped ?? '', /^ExecStart=/m);
});

test('secrets: keys of mirrors and configurations of rclone are looked at', async (t) => {
  const loaded = await config(t, good.replace('$T/identity', '/etc/k'));
  assert.deepEqual(secretsOf(loaded), [{ what: 'private key of mirror paris', path: '/etc/k' }]);
});

test('a machine: files, links, what is absent and what is hidden', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'lockstepd-machine-'));
  try {
    const real = systemMachine(process.env, new AbortController().signal);
    await writeFile(join(directory, 'f'), 'x', { mode: 0o640 });
    await chmod(join(directory, 'f'), 0o640);
    await symlink('f', join(directory, 'l'));
    const at = async (name: string, follow: boolean) => {
      const facts = await real.path(join(directory, name), { follow });
      return 'mode' in facts ? [facts.kind, facts.mode] : [facts.kind];
    };
    assert.deepEqual(await at('l', true), ['file', 0o640]);
    assert.equal((await at('l', false))[0], 'link');
    assert.deepEqual(await at('f/x', true), ['absent']);
    assert.equal(await real.real(join(directory, 'l')), join(directory, 'f'));
    assert.equal(await real.text(join(directory, 'no')), null);
    assert.ok(((await real.disk(directory)).space?.totalBytes ?? 0) > 0);
    assert.equal((await real.disk(join(directory, 'no'))).space, null);
    assert.equal((await real.run(['sh', '-c', 'echo out; echo err >&2']))?.split('\n').sort().join(' '), ' err out');
    assert.equal(await real.run(['false']), null);
    assert.equal(await real.run([join(directory, 'no')]), null);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});

test('the socket and the port tell whether a daemon runs, and the lock of the state which process it is', async () => {
  await using primary = await Primary.create();
  const real = systemMachine(process.env, new AbortController().signal);
  const loaded = await loadConfig(primary.configFile, { env: {} });
  const web = createServer((_, response) => response.end('hello'));
  await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve));
  const { port } = web.address() as AddressInfo;
  const see = async (listen: Config['listen']) => {
    const facts = await gatherService(real, { ...loaded, listen }, null);
    return [facts.socket.state, facts.port.state];
  };
  try {
    assert.deepEqual(await see({ host: '127.0.0.1', port }), ['absent', 'taken']);
    assert.deepEqual(await see({ host: '192.0.2.1', port }), ['absent', 'no-address']);
    assert.equal(await daemonPid(real, loaded.state), null);
    await primary.start();
    const [, bound = ''] = /"listen":"127\.0\.0\.1:(\d+)"/.exec(primary.log) ?? [];
    assert.deepEqual(await see({ host: '0.0.0.0', port: Number(bound) }), ['answers', 'metrics']);
    assert.equal(await daemonPid(real, loaded.state), primary.pid);
    await primary.stop('SIGKILL');
    assert.deepEqual(await see({ host: '127.0.0.1', port: Number(bound) }), ['silent', 'free']);
    await rm(loaded.socket);
    await mkdir(loaded.socket);
    assert.equal((await see(loaded.listen))[0], 'other');
  } finally {
    web.closeAllConnections();
    web.close();
  }
});
