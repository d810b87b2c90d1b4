import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import test, { type TestContext } from 'node:test';
import { childEnvironment, exec, type ExecResult } from '../src/system/exec.ts';

const repository = resolve(import.meta.dirname, '..');
const unit = join(repository, 'systemd/lockstepd.service');

function scratch(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'lockstepd-systemd-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Runs a tool that may lie where only root's search path leads; null when it is absent, with the test skipped. */
async function run(t: TestContext, argv: readonly [string, ...string[]]): Promise<ExecResult | null> {
  const env = childEnvironment({ PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin` });
  try {
    return await exec(argv, { timeoutMs: 120_000, env });
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error) || error.code !== 'ENOENT') throw error;
    t.skip(`${argv[0]} absent`);
    return null;
  }
}

function passed(result: ExecResult): void {
  assert.equal(result.code, 0, result.stdout + result.stderr);
}

test('systemd understands the unit', async (t) => {
  const copy = join(scratch(t), 'lockstepd.service');
  // The program itself is not installed where tests run.
  writeFileSync(
    copy,
    readFileSync(unit, 'utf8').replace(/^ExecStart=\/usr\/bin\/lockstepd .*/m, 'ExecStart=/bin/true'),
  );
  const result = await run(t, ['systemd-analyze', 'verify', copy]);
  if (result === null) return;
  passed(result);
  assert.doesNotMatch(result.stderr, /lockstepd\.service/, 'not even a warning');
});

test('the unit exposes at most 1.5 of 10', async (t) => {
  const result = await run(t, ['systemd-analyze', 'security', '--offline=true', '--threshold=15', unit]);
  if (result === null) return;
  passed(result);
  t.diagnostic(/Overall exposure level.*/.exec(result.stdout)?.[0] ?? result.stdout);
});

test('the unit leaves what the daemon needs', () => {
  const text = readFileSync(unit, 'utf8').replace(/^#.*/gm, '');
  // rrsync's lock is read from /proc/locks; V8 aborts without writable code; notifications come from a child; the owners of
  // files in inboxes are compared, which are all the same in a user namespace.
  assert.doesNotMatch(text, /^(ProcSubset=pid|MemoryDenyWriteExecute=|NotifyAccess=(main|exec|none)|PrivateUsers=)/m);
  for (const line of [
    'Type=notify',
    'NotifyAccess=all',
    'WatchdogSec=60',
    'RestartPreventExitStatus=78',
    'ExecReload=/bin/kill -HUP $MAINPID',
    'ReadWritePaths=/srv/mirror',
    'OOMPolicy=continue',
    // A TERM to the whole group would end the pushes that are being drained.
    'KillMode=mixed',
    'Environment="NODE_OPTIONS=--max-semi-space-size=1 --max-old-space-size=48" MALLOC_ARENA_MAX=2 MALLOC_MMAP_THRESHOLD_=131072',
  ]) {
    assert.ok(text.split('\n').includes(line), line);
  }
});

/** A copy with the lines that stand there as examples for a builder. */
function withBuilder(t: TestContext, name: string): string {
  const text = readFileSync(join(repository, 'systemd', name), 'utf8');
  assert.match(text, /^#[umd] /m);
  const copy = join(scratch(t), name);
  writeFileSync(copy, text.replaceAll(/^#(?=[umd] )/gm, ''));
  return copy;
}

test('sysusers and tmpfiles make the users and directories, each with its owner', async (t) => {
  const root = scratch(t);
  mkdirSync(join(root, 'etc'));
  const users = await run(t, ['systemd-sysusers', `--root=${root}`, withBuilder(t, 'lockstepd.sysusers.conf')]);
  if (users === null) return;
  passed(users);
  const ids = (file: string): Map<string, number> =>
    new Map(
      readFileSync(join(root, 'etc', file), 'utf8')
        .split('\n')
        .map((line) => line.split(':'))
        .map(([name = '', , id]) => [name, Number(id)]),
    );
  const [uids, gids] = [ids('passwd'), ids('group')];
  assert.match(readFileSync(join(root, 'etc/group'), 'utf8'), /^repoupload-example:[^:]*:\d+:lockstepd$/m);
  if (process.getuid?.() !== 0) return t.skip('not root, so nothing can be given to another owner');
  const tmpfiles = withBuilder(t, 'lockstepd.tmpfiles.conf');
  const files = await run(t, ['systemd-tmpfiles', `--root=${root}`, '--create', tmpfiles]);
  if (files === null) return;
  passed(files);
  const expected = [
    ['', 0o1775, 'root', 'lockstepd'],
    ['inbox', 0o755, 'root', 'root'],
    ['inbox/example', 0o750, 'repoupload-example', 'repoupload-example'],
    ['ingest', 0o700, 'lockstepd', 'lockstepd'],
    ['quarantine', 0o750, 'lockstepd', 'lockstepd'],
    ['trees', 0o755, 'lockstepd', 'lockstepd'],
  ] as const;
  for (const [name, mode, user, group] of expected) {
    const facts = statSync(join(root, 'srv/mirror', name));
    const owner = user === 'root' ? 0 : uids.get(user);
    const owners = group === 'root' ? 0 : gids.get(group);
    assert.deepEqual([facts.mode & 0o7777, facts.uid, facts.gid], [mode, owner, owners], `/srv/mirror/${name}`);
  }
});

test('sshd accepts the snippet for builders and confines them', async (t) => {
  const directory = scratch(t);
  const key = join(directory, 'host');
  const made = await run(t, ['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', key]);
  if (made === null) return;
  const file = join(directory, 'sshd_config');
  const snippet = readFileSync(join(repository, 'config/sshd/lockstepd.conf'), 'utf8');
  writeFileSync(file, `HostKey ${key}\n${snippet}`);
  const sshd = await run(t, ['sh', '-c', 'PATH=$PATH:/usr/sbin; command -v sshd']);
  if (sshd?.code !== 0) return t.skip('sshd absent');
  const tested = await exec(
    [sshd.stdout.trim(), '-T', '-f', file, '-C', 'user=repoupload-example,host=h,addr=192.0.2.1'],
    {
      timeoutMs: 120_000,
    },
  );
  if (tested.stderr.includes('/run/sshd')) return t.skip('/run/sshd absent, without which sshd tests nothing');
  passed(tested);
  for (const line of [
    'disableforwarding yes',
    'permittty no',
    'maxsessions 1',
    'permituserrc no',
    'passwordauthentication no',
  ]) {
    assert.ok(tested.stdout.split('\n').includes(line), line);
  }
  assert.match(tested.stdout, /^authorizedkeysfile \/etc\/lockstepd\/authorized_keys\.d\/%u$/m);
});

test('sshd accepts the snippet of a leaf: the account for sftp sees only its inbox', async (t) => {
  const directory = scratch(t);
  const key = join(directory, 'host');
  const made = await run(t, ['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', key]);
  if (made === null) return;
  const file = join(directory, 'sshd_config');
  writeFileSync(file, `HostKey ${key}\n${readFileSync(join(repository, 'config/sshd/leaf.conf'), 'utf8')}`);
  const sshd = await run(t, ['sh', '-c', 'PATH=$PATH:/usr/sbin; command -v sshd']);
  if (sshd?.code !== 0) return t.skip('sshd absent');
  for (const [user, root, command] of [
    ['repofeed-example', 'none', 'none'],
    ['sftpfeed-example', '/srv/feed/%u', 'internal-sftp -d /inbox'],
  ] as const) {
    const client = `user=${user},host=h,addr=192.0.2.1`;
    const tested = await exec([sshd.stdout.trim(), '-T', '-f', file, '-C', client], { timeoutMs: 120_000 });
    if (tested.stderr.includes('/run/sshd')) return t.skip('/run/sshd absent, without which sshd tests nothing');
    passed(tested);
    const lines = tested.stdout.split('\n');
    for (const line of [
      'disableforwarding yes',
      'maxsessions 10',
      `chrootdirectory ${root}`,
      `forcecommand ${command}`,
      'authorizedkeysfile /etc/lockstepd/authorized_keys.d/%u',
    ])
      assert.ok(lines.includes(line), `${user}: ${line}`);
  }
});

test('the lines for authorized_keys carry a key and restrict it', async (t) => {
  for (const [name, count] of [
    ['authorized_keys.builder', 1],
    ['authorized_keys.mirror', 3],
    ['authorized_keys.upstream', 2],
  ] as const) {
    const file = join(repository, 'config/sshd', name);
    const lines = readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'));
    assert.equal(lines.length, count);
    for (const line of lines) assert.match(line, /^restrict,command="[^"]+" ssh-ed25519 /);
    const listed = await run(t, ['ssh-keygen', '-l', '-f', file]);
    if (listed === null) return;
    passed(listed);
    assert.equal(listed.stdout.trim().split('\n').length, count);
  }
});

test('systemd understands the units for mirrors that pull', async (t) => {
  const directory = scratch(t);
  const copies = ['lockstep-pull.service', 'lockstep-pull.timer'].map((name) => {
    const text = readFileSync(join(repository, 'config/pull', name), 'utf8');
    writeFileSync(join(directory, name), text.replace(/^ExecStart=.*$/m, 'ExecStart=/bin/true'));
    return join(directory, name);
  });
  const result = await run(t, ['systemd-analyze', 'verify', ...copies]);
  if (result) passed(result);
});
