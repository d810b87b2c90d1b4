/** `npm run package:try`: installs the package into a fresh Debian, runs the daemon there under the real unit, upgrades, removes, purges. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { createSigningKey } from '../../src/apk/make.ts';
import { SampleRepository } from '../../src/cli/sample-builder.ts';
import { Container, enter, makeDebian, whyNoDebian } from './container.ts';
import { runs } from './run.ts';

const usage = `Usage: npm run package:try -- [--base DIRECTORY]

Builds the package twice and tries it in a Debian 12 of its own: install without systemd, boot, a batch to four mirrors under the
unit's sandbox, upgrade, remove, purge. Needs root, debootstrap, cgroup2 and Debian's archive; takes some minutes.

  --base DIRECTORY   a Debian that an earlier run made there (made when absent), copied instead of made anew
`;

const repository = resolve(import.meta.dirname, '../..');
const began = Date.now();
const say = (text: string): void =>
  void process.stdout.write(`${((Date.now() - began) / 1000).toFixed(0).padStart(4)} s  ${text}\n`);

/** Builds with a version of its own and returns the file. */
async function build(out: string, version: string): Promise<string> {
  const argv = [process.execPath, join(repository, 'systemd/deb/build.ts'), '--compression', 'zstd'] as const;
  await runs([...argv, '--out', out, '--version', version], { timeoutMs: 300_000 });
  const file = readdirSync(out).find((name) => name.includes(version));
  return join(out, file ?? '');
}

async function install(root: string, deb: string): Promise<void> {
  cpSync(deb, join(root, 'root/lockstepd.deb'));
  const packages = ['/root/lockstepd.deb', 'systemd', 'dbus', 'rclone'];
  await enter(root, ['apt-get', 'install', '-q', '-y', ...packages], { timeoutMs: 600_000 });
}

/** What the maintainer scripts have left, before anything was configured or started. */
async function judgeInstalled(root: string): Promise<void> {
  const shell = (script: string): Promise<string> => enter(root, ['sh', '-euc', script]);
  assert.match(await shell('lockstepd --version'), /^lockstepd \d/);
  assert.equal(await shell('dpkg --verify lockstepd'), '', 'every file is as it was packed');
  assert.match(await shell('id lockstepd'), /^uid=\d+\(lockstepd\) gid=\d+\(lockstepd\)/);
  assert.match(await shell('stat -c "%a %U %G" /srv/mirror'), /^1775 root lockstepd$/m);
  const links = await shell('ls /etc/systemd/system/*.wants');
  assert.doesNotMatch(links, /lockstepd/, 'nothing is enabled');
}

const configuration = (hostKey: string): string => `root: /srv/mirror
state: /var/lib/lockstepd
inboxes:
  - builder: example
    path: inbox/example
    repositories: ["main/{arch}"]
    keys: /etc/lockstepd/keys/example
    settle: 200ms
mirrors:
  - { name: disk, transport: { type: directory, path: /mnt/disk } }
  - { name: rclone, transport: { type: rclone, remote: "files:/mnt/rclone", config: credential:rclone } }
${(['rsync', 'sftp'] as const)
  .map(
    (type) => `  - name: ${type}
    transport:
      type: ${type}
      host: 127.0.0.1
      user: mirror-${type}
      path: /${type === 'sftp' ? 'srv/sftp' : ''}
      identity: credential:push-key
      host_key: "${hostKey}"
`,
  )
  .join('')}`;

/**
 * Accounts, keys and files, and what a directory mirror, an rclone remote and credentials need. A system call that the unit refuses
 * ends its process here, so that none is worked around unseen.
 */
async function configure(container: Container, root: string): Promise<void> {
  await container.shell(`
    for kind in sysusers tmpfiles; do
      mkdir -p /etc/$kind.d
      sed -n 's/^#\\([umd] .*\\)/\\1/p' /usr/lib/$kind.d/lockstepd.conf >/etc/$kind.d/builders.conf
    done
    systemd-sysusers
    systemd-tmpfiles --create
    install -m 644 /usr/share/doc/lockstepd/examples/sshd/lockstepd.conf /etc/ssh/sshd_config.d/lockstepd.conf
    ssh-keygen -q -t ed25519 -N '' -f /root/builder
    ssh-keygen -q -t ed25519 -N '' -f /etc/lockstepd/push-key
    printf 'restrict,command="/usr/bin/rrsync -wo -munge -no-del /srv/mirror/inbox/example" %s\\n' "$(cat /root/builder.pub)" \
      >/etc/lockstepd/authorized_keys.d/repoupload-example
    for kind in rsync sftp; do
      useradd --system --create-home --shell /bin/sh mirror-$kind
      install -d -o mirror-$kind -g mirror-$kind /srv/$kind
      install -d -o mirror-$kind -g mirror-$kind -m 700 /home/mirror-$kind/.ssh
    done
    key=$(cat /etc/lockstepd/push-key.pub)
    echo 'restrict,command="/usr/bin/rrsync -wo /srv/rsync"' "$key" >/home/mirror-rsync/.ssh/authorized_keys
    echo 'restrict,command="internal-sftp"' "$key" >/home/mirror-sftp/.ssh/authorized_keys
    install -d -o lockstepd -g lockstepd /mnt/disk /mnt/rclone
    printf '[files]\\ntype = local\\n' >/etc/lockstepd/rclone.conf
    chmod 600 /etc/lockstepd/rclone.conf
    install -d /etc/systemd/system/lockstepd.service.d
    printf '%s\\n' '[Service]' 'LoadCredential=push-key:/etc/lockstepd/push-key' 'LoadCredential=rclone:/etc/lockstepd/rclone.conf' \
      'ReadWritePaths=/mnt/disk /mnt/rclone' 'WatchdogSec=6' 'SystemCallErrorNumber=kill' >/etc/systemd/system/lockstepd.service.d/try.conf
    systemctl daemon-reload
    systemctl restart ssh
  `);
  const scan = await container.shell('ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub');
  const fingerprint = /SHA256:\S+/.exec(scan)?.[0] ?? '';
  writeFileSync(join(root, 'etc/lockstepd/lockstepd.yaml'), configuration(fingerprint));
}

/** A builder on the container's disk. */
class Builder {
  readonly #container: Container;
  readonly #directory: string;
  readonly #repository: SampleRepository;

  constructor(container: Container, root: string) {
    const key = createSigningKey('builder.rsa.pub');
    this.#container = container;
    this.#directory = join(root, 'root/upload');
    this.#repository = new SampleRepository('main/x86_64', key);
    mkdirSync(join(root, 'etc/lockstepd/keys/example'), { recursive: true });
    writeFileSync(join(root, 'etc/lockstepd/keys/example/builder.rsa.pub'), key.publicPem);
  }

  /** Uploads three more packages over ssh, as a builder does, and waits until every mirror has generation `generation`. */
  async batch(generation: number): Promise<void> {
    for (const [seed, name] of ['one', 'two', 'three'].entries()) {
      this.#repository.set({
        name: `${name}-${generation}`,
        version: `${generation}.0-r0`,
        contentBytes: 75_000,
        seed,
      });
    }
    await this.#repository.write(this.#directory);
    const ssh = 'ssh -i /root/builder -o StrictHostKeyChecking=no -o LogLevel=ERROR';
    await this.#container.shell(`cd /root/upload; rsync -rt -e '${ssh}' main repoupload-example@127.0.0.1:/`);
    await inStep(this.#container, generation);
    const packages = this.#repository.entries.length;
    for (const mirror of ['/mnt/disk', '/mnt/rclone', '/srv/rsync', '/srv/sftp']) {
      const same = `diff -r /srv/mirror/public/main ${mirror}/main; ls ${mirror}/main/x86_64/*.apk | wc -l`;
      assert.equal((await this.#container.shell(same)).trim(), String(packages), mirror);
    }
  }
}

async function inStep(container: Container, generation: number): Promise<void> {
  for (let last = '', until = Date.now() + 60_000; ; await sleep(250)) {
    const { code, stdout, stderr } = await container.tries('lockstepd', 'status', '--json');
    if (code === 0 && (JSON.parse(stdout) as { generation: number }).generation === generation) return;
    last = stdout + stderr;
    if (Date.now() > until) {
      const journal = await container.run('journalctl', '-u', 'lockstepd', '-o', 'cat', '-n', '40');
      throw new Error(`generation ${generation} is not everywhere after a minute:\n${last}\n${journal}`);
    }
  }
}

const show = async (container: Container, property: string): Promise<string> =>
  (await container.run('systemctl', 'show', 'lockstepd', '-P', property)).trim();

/** The kernel's word that the daemon runs as the unit says, and systemd's that it reports. */
async function judgeSandbox(container: Container): Promise<void> {
  const pid = await show(container, 'MainPID');
  const status = await container.run('cat', `/proc/${pid}/status`);
  const field = (name: string): string => new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1] ?? '';
  assert.deepEqual(['Seccomp', 'NoNewPrivs', 'CapBnd', 'CapEff', 'CapAmb'].map(field), [
    '2',
    '1',
    ...Array<string>(3).fill('0000000000000000'),
  ]);
  const mounts = await container.run('cat', `/proc/${pid}/mountinfo`);
  const mode = (path: string): string => new RegExp(` ${path} (r[ow])`, 'm').exec(mounts)?.[1] ?? '';
  assert.deepEqual(['/', '/srv/mirror', '/srv/mirror/inbox', '/home'].map(mode), ['ro', 'rw', 'ro', 'ro']);
  assert.match(await show(container, 'StatusText'), /\S/);
  const before = await show(container, 'WatchdogTimestampMonotonic');
  await sleep(4500);
  assert.notEqual(await show(container, 'WatchdogTimestampMonotonic'), before, 'the watchdog is fed');
  const controllers = (await container.run('cat', '/sys/fs/cgroup/cgroup.controllers')).trim();
  if (!/memory.*pids/.test(controllers))
    say('not tried: MemoryMax and TasksMax, for which cgroup2 has no controllers here');
  say(`seccomp, no capabilities, read-only but for its directories; ${field('VmRSS')} resident`);
}

/** No event that an operator would have to look at, as a refused system call would be. */
async function judgeJournal(container: Container): Promise<void> {
  const lines = (await container.run('journalctl', '-u', 'lockstepd', '-o', 'cat')).split('\n');
  const bad = lines.filter((line) => /"level":"(?:warn|error|fatal)"|notify_failed|EPERM|EACCES/.test(line));
  assert.deepEqual(bad, []);
}

async function upgrades(container: Container, root: string, deb: string): Promise<void> {
  cpSync(deb, join(root, 'root/lockstepd.deb'));
  await container.run('dpkg', '--force-confold', '-i', '/root/lockstepd.deb');
}

async function story(root: string, [first, second]: readonly [string, string]): Promise<void> {
  await install(root, first);
  await judgeInstalled(root);
  say('installed without systemd: account, directories, nothing enabled');

  await using container = await Container.boot(root);
  try {
    await lifeOf(container, root, first, second);
  } catch (error) {
    process.stderr.write(await container.run('journalctl', '--no-pager', '-u', 'lockstepd', '-n', '60'));
    throw error;
  }
}

/** From the first boot to the purge. */
async function lifeOf(container: Container, root: string, first: string, second: string): Promise<void> {
  assert.equal((await container.tries('systemctl', 'is-enabled', 'lockstepd')).stdout.trim(), 'disabled');
  assert.equal((await container.tries('systemctl', 'is-active', 'lockstepd')).stdout.trim(), 'inactive');
  await container.run('systemd-analyze', 'verify', 'lockstepd.service');
  const exposure = await container.run('systemd-analyze', 'security', '--threshold=15', 'lockstepd.service');
  say(`booted; ${/Overall exposure level.*: (\S+ \S+)/.exec(exposure)?.[0] ?? ''}`);

  await configure(container, root);
  const builder = new Builder(container, root);
  await container.run('lockstepd', 'check');
  await container.run('systemctl', 'enable', '--now', 'lockstepd');
  await builder.batch(1);
  say('a batch is on a directory, an rclone, an rsync and an sftp mirror');
  await judgeSandbox(container);
  await container.run('systemctl', 'reload', 'lockstepd');
  await builder.batch(2);
  await judgeJournal(container);

  const settings = readFileSync(join(root, 'etc/lockstepd/lockstepd.yaml'));
  const pid = await show(container, 'MainPID');
  await upgrades(container, root, second);
  assert.equal(await show(container, 'ActiveState'), 'active');
  assert.notEqual(await show(container, 'MainPID'), pid, 'the new version runs');
  assert.deepEqual(readFileSync(join(root, 'etc/lockstepd/lockstepd.yaml')), settings);
  await builder.batch(3);
  await judgeJournal(container);
  await container.run('systemctl', 'stop', 'lockstepd');
  await upgrades(container, root, first);
  assert.equal(await show(container, 'ActiveState'), 'inactive', 'what was stopped stays so');
  say('upgraded: a running daemon took the new version over, a stopped one stayed so');

  await container.run('systemctl', 'start', 'lockstepd');
  await container.run('dpkg', '--remove', 'lockstepd');
  const contents = 'cd /srv/mirror; find . -type f | sort | xargs sha256sum';
  const kept = await container.shell(contents);
  assert.equal((await container.tries('systemctl', 'is-active', 'lockstepd')).stdout.trim(), 'inactive');
  await container.run('test', '-s', '/var/lib/lockstepd/state.db');
  await container.run('dpkg', '--purge', 'lockstepd');
  assert.equal(await container.shell(contents), kept);
  await container.shell(
    'test ! -e /var/lib/lockstepd; test -s /etc/lockstepd/lockstepd.yaml; test -s /etc/lockstepd/push-key',
  );
  assert.equal(
    await container.shell('find /usr /run /etc/systemd -name "lockstepd*" ! -path "*/lockstepd.service.d*"'),
    '',
  );
  say('removed and purged: the state is gone, the mirror, its keys and its configuration stay');
}

/** Two builds, from here and from a copy elsewhere, as another user would do: other directory, other umask, other zone. */
async function judgeReproducible(directory: string, built: string, version: string): Promise<void> {
  const copy = join(directory, 'copy');
  const made = ['node_modules', 'dist', 'dist-deb'].map((name) => join(repository, name));
  cpSync(repository, copy, { recursive: true, filter: (from) => !made.includes(from) });
  const script = `umask 077; cd ${copy}; ln -s ${repository}/node_modules node_modules
    TZ=Pacific/Auckland ${process.execPath} systemd/deb/build.ts --compression zstd --out again --version ${version}`;
  await runs(['sh', '-euc', script], { timeoutMs: 300_000 });
  const sum = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex');
  const [name = ''] = readdirSync(join(copy, 'again'));
  assert.equal(sum(join(copy, 'again', name)), sum(built));
}

const { values } = parseArgs({ options: { base: { type: 'string' }, help: { type: 'boolean' } } });
const why = whyNoDebian();
if (values.help) {
  process.stdout.write(usage);
} else if (why !== null) {
  process.stderr.write(`package:try cannot run here: ${why}\n`);
  process.exitCode = 1;
} else {
  const directory = mkdtempSync(join(tmpdir(), 'lockstepd-package-'));
  try {
    const [one, two] = ['0.1.0~try1-1', '0.1.0~try2-1'];
    const debs = [await build(directory, one), await build(directory, two)] as const;
    await judgeReproducible(directory, debs[0], one);
    say('built twice in different places: the same bytes');
    const root = join(directory, 'root');
    const base = values.base === undefined ? root : resolve(values.base);
    if (readdirSync(join(base, '..')).includes(base.split('/').at(-1) ?? '')) say(`using ${base}`);
    else await makeDebian(base);
    if (base !== root) await runs(['cp', '-a', base, root]);
    say('a fresh Debian 12');
    await story(root, debs);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
