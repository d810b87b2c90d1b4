import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join, resolve } from 'node:path';
import test, { type TestContext } from 'node:test';
import { command } from '../../src/cli/init.ts';
import { parseScan } from '../../src/cli/init-host-key.ts';
import { fullName } from '../../src/cli/init-hostname.ts';
import { applyStep, inspectStep, type Step } from '../../src/cli/init-steps.ts';
import { nginxText, rsyncdText, sshdForBuilders, unitPaths } from '../../src/cli/init-snippets.ts';
import { sshKeysOf } from '../../src/cli/init-values.ts';
import { volunteerText } from '../../src/cli/init-volunteer.ts';
import { readYaml } from '../../src/config/document.ts';
import { loadConfig } from '../../src/config/load.ts';
import { ConfigError, OperationError, UsageError } from '../../src/errors.ts';
import { missingProgram, startSshd } from '../support/sshd.ts';
import { fingerprint, good, publicPem } from '../config/world.ts';

const key = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f lockstepd';
const snippet = (name: string): string =>
  readFileSync(resolve(import.meta.dirname, '../../config', name), 'utf8')
    .split('\n')
    .filter((line) => !/^\s*#/.test(line) && line.trim() !== '')
    .join('\n');

async function run(...args: string[]): Promise<{ code: number; out: string }> {
  return runSeen(() => {}, ...args);
}

/** `seen` is told of each piece of output as it comes. */
async function runSeen(seen: (text: string) => void, ...args: string[]): Promise<{ code: number; out: string }> {
  let out = '';
  const io = {
    out: (text: string) => {
      out += text;
      seen(text);
    },
    err: () => {},
    terminal: false,
    env: {},
    signal: new AbortController().signal,
  };
  const code = await command.run(args, io);
  return { code, out };
}

/** A configuration without mirrors, and what it points to. */
function world(t: TestContext): { readonly directory: string; readonly config: string } {
  const directory = mkdtempSync(join(tmpdir(), 'lockstepd-init-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  for (const name of ['mirror', 'keys']) mkdirSync(join(directory, name));
  writeFileSync(join(directory, 'keys/one.rsa.pub'), publicPem);
  writeFileSync(join(directory, 'push-key'), 'a key', { mode: 0o600 });
  writeFileSync(join(directory, 'push-key.pub'), `${key}\n`);
  const config = join(directory, 'lockstepd.yaml');
  writeFileSync(config, `# mine\n${good.replace(/mirrors:[^]*/, '').replaceAll('$T', directory)}\n# the end\n`);
  return { directory, config };
}

test('what init prints is what the shipped snippets say', () => {
  const text = (printed: string): string => printed.trimEnd();
  assert.equal(
    text(sshdForBuilders('repoupload-*', '/etc/lockstepd/authorized_keys.d')),
    snippet('sshd/lockstepd.conf'),
  );
  assert.equal(text(rsyncdText('/srv/mirror')), snippet('rsyncd/rsyncd.conf'));
  assert.equal(text(nginxText('primary.example.org', '/srv/mirror/public')), snippet('nginx/repository.conf'));
});

test('the unit is told of paths that are not its own, and only of these', () => {
  assert.equal(unitPaths('/etc/lockstepd/lockstepd.yaml', '/srv/mirror', '/var/lib/lockstepd'), null);
  const text = unitPaths('/etc/lockstepd/lockstepd.yaml', '/data/apk', '/var/lib/lockstepd') ?? '';
  assert.match(
    text,
    /^ReadWritePaths=\nReadWritePaths=\/data\/apk\nReadOnlyPaths=\nReadOnlyPaths=-\/data\/apk\/inbox$/m,
  );
  assert.doesNotMatch(text, /ExecStart/);
});

test('the owner of each kind of mirror gets the line that confines the key', () => {
  const part = {
    name: 'x',
    host: 'm.example',
    user: 'lockstep',
    directory: '/srv/r',
    chroot: null,
    publicKey: key,
    primary: 'p.example',
  };
  const lines = {
    rsync: '/usr/bin/rrsync -wo /srv/r',
    sftp: 'internal-sftp',
    trigger: '/usr/local/bin/lockstep-pull',
  } as const;
  for (const [type, forced] of Object.entries(lines)) {
    const printed = volunteerText({ ...part, type: type as keyof typeof lines });
    assert.ok(printed.includes(`\nrestrict,command="${forced}" ${key}\n`), type);
    assert.equal(printed.includes('FROM=rsync://p.example/repository/\nTO=/srv/r\n'), type === 'trigger');
  }
  assert.doesNotMatch(volunteerText({ ...part, type: 'pull', host: null }), /authorized_keys|restrict/);
  const confined = volunteerText({ ...part, type: 'sftp', chroot: '/srv/jail', directory: '/srv/jail/r' });
  assert.match(
    confined,
    /install -d \/srv\/jail\n[^]*ChrootDirectory \/srv\/jail\n {4}ForceCommand internal-sftp -d \/r\n/,
  );
});

test('keys for ssh are looked at: no private key, no two lines in one word', async (t) => {
  const { directory } = world(t);
  assert.deepEqual(await sshKeysOf('init', '--builder-key', [key, join(directory, 'push-key.pub')]), [key, key]);
  for (const wrong of [
    'ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAA x',
    `${key}"\ncommand="sh" ${key}`,
    'x y',
    join(directory, 'push-key'),
    '/nowhere',
  ])
    await assert.rejects(sshKeysOf('init', '--builder-key', [wrong]), UsageError, wrong);
});

test('of the keys that a host shows, the one that connections use comes first', () => {
  const [, blob = ''] = key.split(' ');
  const shown = parseScan(`m ssh-rsa AAAA\n# m SSH-2.0\nm ssh-dss AAAA\nm ssh-ed25519 ${blob}\n`);
  assert.deepEqual(
    shown.map(({ type }) => type),
    ['ssh-ed25519', 'ssh-rsa'],
  );
  assert.match(shown[0]?.fingerprint ?? '', /^SHA256:[A-Za-z0-9+/]{43}$/);
});

test('a mirror is added when its host key is the given one; what is there stays to the byte', async (t) => {
  const missing = missingProgram('sshd', 'ssh-keygen', 'ssh-keyscan');
  if (missing !== undefined) return t.skip(`${missing} absent`);
  const { config } = world(t);
  chmodSync(config, 0o640);
  const before = readFileSync(config, 'utf8');
  await using sshd = await startSshd({});
  const args = [
    'mirror',
    'paris',
    '--config',
    config,
    '--type',
    'rsync',
    '--host',
    sshd.host,
    '--port',
    `${sshd.port}`,
    '--url',
    'http://m.example/',
  ];

  const shown = await run(...args);
  assert.equal(shown.code, 75);
  const quoted = await run(...args.slice(0, -1), "http://m.example/'x");
  assert.ok(quoted.out.endsWith(`--url 'http://m.example/'\\''x' --host-key ${sshd.hostKeyFingerprint}\n`), quoted.out);
  assert.ok(shown.out.endsWith(`lockstepd init ${args.join(' ')} --host-key ${sshd.hostKeyFingerprint}\n`));
  await assert.rejects(run(...args, '--host-key', fingerprint), (error: Error) => {
    return (
      error instanceof OperationError &&
      error.message.includes(`shows ssh-ed25519 ${sshd.hostKeyFingerprint}, which is not --host-key`)
    );
  });
  assert.equal((await run(...args, '--host-key', sshd.hostKeyFingerprint, '--dry-run')).code, 0);
  assert.equal(readFileSync(config, 'utf8'), before, 'nothing was written so far');
  const meanwhile = (text: string): void => {
    if (text.includes('as given')) writeFileSync(config, `${before}# an editor was open\n`);
  };
  await assert.rejects(runSeen(meanwhile, ...args, '--host-key', sshd.hostKeyFingerprint), /was changed meanwhile/);
  assert.equal(readFileSync(config, 'utf8'), `${before}# an editor was open\n`);
  writeFileSync(config, before);

  assert.equal((await run(...args, '--host-key', sshd.hostKeyFingerprint)).code, 0);
  const after = readFileSync(config, 'utf8');
  assert.ok(after.startsWith(before));
  assert.equal(statSync(config).mode & 0o777, 0o640);
  const [mirror] = (await loadConfig(config, { env: {} })).mirrors;
  assert.deepEqual([mirror?.name, mirror?.url], ['paris', 'http://m.example/']);

  assert.match((await run(...args)).out, /^nothing to change/m);
  await assert.rejects(
    run(...args.map((arg) => (arg === 'rsync' ? 'sftp' : arg))),
    /has it with transport\.type: "rsync", not "sftp"/,
  );
  assert.equal(readFileSync(config, 'utf8'), after);
});

test('a mirror that check would refuse is not written', async (t) => {
  const { config } = world(t);
  const before = readFileSync(config, 'utf8');
  const cases: readonly [string, readonly string[]][] = [
    ['rclone.conf cannot be read', ['x', '--type', 'rclone', '--remote', 's3:bucket']],
    ['url: "ftp://x"', ['x', '--type', 'pull', '--url', 'ftp://x']],
    ['--url is missing', ['x', '--type', 'pull']],
    ['--path is missing', ['x', '--type', 'directory']],
    ['--host is missing', ['x', '--type', 'sftp']],
    [
      '--host-key is not for a mirror of type pull',
      ['x', '--type', 'pull', '--url', 'http://x/', '--host-key', fingerprint],
    ],
    ['the service does not see homes', ['x', '--type', 'directory', '--path', '/home/mirror']],
    ['expected an absolute path', ['x', '--type', 'directory', '--path', '/mnt/$(reboot)']],
    ['NAME ".x"', ['.x', '--type', 'pull', '--url', 'http://x/']],
  ];
  for (const [message, args] of cases) {
    await assert.rejects(
      run('mirror', ...args, '--config', config),
      (error: Error) => error.message.includes(message),
      message,
    );
  }
  assert.equal(readFileSync(config, 'utf8'), before);
});

test('options that check would refuse are refused before the host is asked and its owner told', async (t) => {
  const { config } = world(t);
  const args = ['mirror', 'x', '--type', 'rsync', '--host', 'nowhere.invalid', '--config', config];
  for (const [wrong, message] of [
    [['--url', 'ftp://x'], /mirrors\[0\]\.url: "ftp:/],
    [['--port', '0'], /transport\.port: 0/],
    [['--host-key', 'SHA256:short'], /transport\.host_key/],
    [['--user', 'root'], /--user root: expected an account that is only used for this/],
  ] as const)
    await assert.rejects(
      runSeen((text) => assert.fail(text), ...args, ...wrong),
      (error: Error) => error instanceof UsageError && message.test(error.message),
    );
});

test('a mirror that pulls is added with what its owner needs', async (t) => {
  const { config } = world(t);
  const { code, out } = await run(
    'mirror',
    'quito',
    '--type',
    'pull',
    '--url',
    'http://q.example/',
    '--hostname',
    'p.example',
    '--config',
    config,
  );
  assert.equal(code, 0);
  assert.match(out, /FROM=rsync:\/\/p\.example\/repository\//);
  assert.equal((await loadConfig(config, { env: {} })).mirrors[0]?.transport.type, 'pull');
});

test('init primary says all that it would make, and makes nothing, in a dry run', async (t) => {
  const { directory } = world(t);
  const config = join(directory, 'new/lockstepd.yaml');
  const trusted = join(directory, 'keys/one.rsa.pub');
  const args = [
    'primary',
    '--builder',
    'one',
    '--config',
    config,
    '--root',
    join(directory, 'root'),
    '--state',
    join(directory, 'state'),
    '--dry-run',
  ];
  await assert.rejects(
    run(...args),
    (error: Error) => error instanceof UsageError && /no key to trust/.test(error.message),
  );
  const { code, out } = await run(
    ...args,
    '--trust-key',
    trusted,
    '--builder-key',
    key,
    '--repositories',
    'edge/{arch}',
  );
  assert.equal(code, 0);
  const written = /would make \S+lockstepd\.yaml\n((?: {4}.*\n|\n)+)/.exec(out)?.[1] ?? '';
  const { value, problems } = readYaml('x', written.replace(/^ {4}/gm, ''));
  assert.deepEqual(problems, []);
  assert.partialDeepStrictEqual(value, {
    inboxes: [{ builder: 'one', repositories: ['edge/{arch}'], keys: join(directory, 'new/keys/one') }],
    mirrors: [],
  });
  assert.throws(() => statSync(join(directory, 'new')), /ENOENT/);
  for (const [wrong, message] of [
    [['--repositories', '/x'], /inboxes\[0\]\.repositories\[0\]/],
    [['--listen', 'x'], /listen: "x"/],
    [['--root', '/home/mirror'], /the service does not see homes/],
    [['--trust-key', join(directory, 'push-key.pub')], /expected a line/],
  ] as const)
    await assert.rejects(run(...args, '--trust-key', trusted, ...wrong), message);
});

test('init primary tells what a configuration lacks, and does not change it', async (t) => {
  const { config } = world(t);
  const before = readFileSync(config, 'utf8');
  const trusted = join(resolve(config, '..'), 'keys/one.rsa.pub');
  const { out } = await run(
    'primary',
    '--builder',
    'two',
    '--config',
    config,
    '--trust-key',
    trusted,
    '--repositories',
    'two/{arch}',
    '--dry-run',
  );
  assert.match(out, /is there and is not changed; this would be added to its inboxes:\n {4}- builder: two\n/);
  await assert.rejects(
    run('primary', '--builder', 'one', '--config', config, '--root', '/other', '--dry-run'),
    /says root: .*, not \/other/,
  );
  assert.equal(readFileSync(config, 'utf8'), before);
});

test('init primary makes nothing by a configuration that check refuses, nor prints an inbox that would make it such', async (t) => {
  const { directory, config } = world(t);
  const before = readFileSync(config, 'utf8');
  const asked = ['primary', '--config', config, '--dry-run', '--builder'];
  const one = [...asked, 'one'];
  const two = [...asked, 'two', '--trust-key', join(directory, 'keys/one.rsa.pub')];
  for (const [args, message] of [
    [[...two, '--repositories', '../x/{arch}'], /inboxes\[1\]\.repositories\[0\]: "\.\.\/x/],
    [[...two, '--repositories', 'main/{arch}'], /match the same paths/],
    [[...two, '--repositories', 'two" # {arch}'], /--repositories "two/],
    [[...one, '--account', 'root'], /--account root: expected one that is only used for uploads/],
    [[...one, '--account', 'lockstepd'], /--account lockstepd/],
  ] as const)
    await assert.rejects(
      run(...args),
      (error: Error) => error instanceof UsageError && message.test(error.message),
      `${message}`,
    );
  writeFileSync(config, before.replace('root:', 'roto:'));
  await assert.rejects(run(...one), ConfigError);
});

test('init primary finds the keys of an inbox in whatever form they are written', async (t) => {
  const { directory, config } = world(t);
  const keys = join(directory, 'keys');
  const before = readFileSync(config, 'utf8');
  writeFileSync(config, before.replace(`keys: ${keys}`, `keys: [{ dir: ${keys}, may_sign: ["main/{arch}"] }]`));
  const args = ['primary', '--config', config, '--root', `${directory}/mirror/`, '--dry-run', '--builder', 'one'];
  const { out } = await run(...args);
  assert.doesNotMatch(out, /keys\/one:/);
  const changed = await run(...args, '--repositories', 'edge/{arch}');
  assert.match(
    changed.out,
    /this would stand there for that builder:\n {4}- builder: one\n[^]* - edge\/\{arch\}\n {6}keys:\n[^]*may_sign:/,
  );
});

test('what belongs to others keeps its owner and mode', async (t) => {
  const step = { kind: 'directory', mode: 0o1775, owner: 'root', group: 'root' } as const;
  await assert.rejects(
    inspectStep({ ...step, path: '/usr', holds: ['trees'] }),
    (error: Error) => error instanceof OperationError && /\/usr is there with other things in it/.test(error.message),
  );
  const { directory } = world(t);
  if (process.getuid?.() !== 0) return;
  assert.equal(await inspectStep({ ...step, path: directory, holds: ['keys'] }), 'other');
  mkdirSync(join(directory, 'disk/lost+found'), { recursive: true });
  assert.equal(await inspectStep({ ...step, path: join(directory, 'disk'), holds: ['keys'] }), 'other');
});

test('a key is made whole, closed, and again when that was cut short', async (t) => {
  if (missingProgram('ssh-keygen') !== undefined) return t.skip('ssh-keygen absent');
  const { directory } = world(t);
  const path = join(directory, 'key');
  const step: Step = { kind: 'key-pair', path, comment: 'x', owner: userInfo().username };
  for (const half of ['key.new', 'key.new.pub', 'key.pub']) writeFileSync(join(directory, half), 'half a k');
  assert.equal(await inspectStep(step), 'absent');
  await applyStep(step, 'absent');
  assert.equal(await inspectStep(step), 'there');
  assert.match(readFileSync(`${path}.pub`, 'utf8'), /^ssh-ed25519 \S+ x\n$/);
  assert.throws(() => statSync(`${path}.new`), /ENOENT/);

  chmodSync(path, 0o644);
  assert.equal(await inspectStep(step), 'other');
  await applyStep(step, 'other');
  assert.equal(statSync(path).mode & 0o777, 0o600);

  writeFileSync(path, '');
  rmSync(`${path}.pub`);
  await assert.rejects(applyStep(step, 'other'), /key is no private key without a passphrase: move it away/);
  rmSync(path);
  mkdirSync(path);
  await assert.rejects(inspectStep(step), /key is no file/);
});

test('a host is called by its full name where that is one of its own', () => {
  assert.equal(fullName('primary', 'primary.example.org'), 'primary.example.org');
  for (const other of ['localhost', 'primary', 'primaryx.example.org', ''])
    assert.equal(fullName('primary', other), 'primary');
});
