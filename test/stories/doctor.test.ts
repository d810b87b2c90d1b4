import assert from 'node:assert/strict';
import { chmod, mkdir, readdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import test from 'node:test';
import { childEnvironment, exec } from '../../src/system/exec.ts';
import { Primary, snapshot } from '../support/primary.ts';
import { serveFiles } from '../support/file-server.ts';
import { findProgram, freePort, makeKeyFile, missingProgram, startSshd } from '../support/sshd.ts';

const main = resolve(import.meta.dirname, '../../src/main.ts');

interface Found {
  readonly group: string;
  readonly level: string;
  readonly what: string;
  readonly found: string;
  readonly remedy: string | null;
}

test('mirrors of every kind are tried: each failure is told in words, nothing is written or started there', async (t) => {
  const missing = missingProgram('sshd', 'rsync', 'rrsync', 'ssh-keygen');
  if (missing !== undefined) return t.skip(`${missing} absent`);
  await using primary = await Primary.create();
  const far = join(primary.directory, 'mirrors');
  const at = (name: string): string => join(far, name);
  for (const name of ['good', 'nodel', 'readonly', 'sftp', 'disk']) await mkdir(at(name));
  const rrsync = findProgram('rrsync');
  await using sshd = await startSshd({
    good: `${rrsync} -wo ${at('good')}`,
    nodel: `${rrsync} -wo -no-del ${at('nodel')}`,
    readonly: `${rrsync} -ro ${at('readonly')}`,
    // rrsync lets in one run at a time, by directory.
    other: `${rrsync} -wo ${at('sftp')}`,
    sftp: 'internal-sftp',
    trigger: `touch ${at('triggered')}`,
  });
  await using web = await serveFiles(at('good'));
  await using empty = await serveFiles(at('nodel'));
  const stranger = join(primary.directory, 'stranger');
  await makeKeyFile(stranger);
  const dead = await freePort();

  const mirror = (
    name: string,
    { type = 'sftp', account = 'sftp', path = at('sftp'), port = sshd.port, url = '', identity = '', pin = '' },
  ): string =>
    [
      `  - name: ${name}`,
      ...(url === '' ? [] : [`    url: ${url}`]),
      `    transport: { type: ${type}, host: 127.0.0.1, port: ${port}, user: ${sshd.user},`,
      ...(type === 'trigger' ? [] : [`      path: ${path},`]),
      `      identity: ${identity || sshd.identity(account)}, host_key: "${pin || sshd.hostKeyFingerprint}" }`,
    ].join('\n');
  const good = mirror('good', { type: 'rsync', account: 'good', path: '/', url: web.url });
  const all = [
    good,
    mirror('sftp', {}),
    `  - name: disk\n    transport: { type: directory, path: ${at('disk')} }`,
    mirror('trigger', { type: 'trigger', account: 'trigger', url: empty.url }),
    mirror('nodel', { type: 'rsync', account: 'nodel', path: '/', url: `http://127.0.0.1:${dead}/` }),
    mirror('readonly', { type: 'rsync', account: 'readonly', path: '/' }),
    mirror('hostkey', { pin: `SHA256:${'A'.repeat(43)}` }),
    mirror('wrongkey', { identity: stranger }),
    mirror('deadport', { port: dead }),
    mirror('wrongpath', { path: at('nowhere') }),
    mirror('wrongpath-rsync', { type: 'rsync', account: 'other', path: '/nowhere' }),
    mirror('norsync', { type: 'rsync', account: 'sftp', path: '/' }),
    mirror('nosftp', { account: 'other', path: '/' }),
  ].join('\n');
  const lockstepd = (...args: string[]) =>
    exec([process.execPath, main, ...args, '--config', primary.configFile], {
      env: childEnvironment(),
      timeoutMs: 240_000,
    });

  await primary.configure({ mirrors: good });
  const repository = primary.repository('main/x86_64');
  repository.set({ name: 'hello', version: '1.0-r0', contentBytes: 1000, seed: 1 });
  await primary.start();
  await repository.write(primary.inbox);
  await primary.untilInSync('good', 1);
  const alone = await lockstepd('check', '--online');
  assert.equal(alone.code, 0, alone.stderr);
  assert.deepEqual(alone.stdout.split('\n').slice(1), [
    `ok    mirror good (rsync ${sshd.user}@127.0.0.1:${sshd.port}): lets us write to / (dry run)`,
    `ok    mirror good, ${web.url}: serves generation 1`,
    '',
  ]);

  await primary.configure({ mirrors: all });
  const before = await snapshot(far);
  const names = await readdir(far, { recursive: true });
  const check = await lockstepd('check', '--online');
  assert.equal(check.code, 1, check.stderr);
  const lines = (text: string): [string, string][] =>
    text
      .split('\n')
      .map((line) => /^(ok|warn|fail) +mirror (\S+)(?: \([^)]*\)|, \S+): (.*)$/.exec(line))
      .flatMap((found) =>
        found ? [[`${found[1]} ${found[2]}`.replace(/,$/, ''), found[3] ?? ''] as [string, string]] : [],
      );
  const said = [...lines(check.stdout), ...lines(check.stderr)];
  const expected: readonly (readonly [string, RegExp])[] = [
    ['ok good', /^lets us write to \/ \(dry run\)$/],
    ['ok good', /^serves generation 1$/],
    ['ok sftp', /^lets us list \/.*GiB free$/],
    ['ok disk', /is there and may be written$/],
    ['ok trigger', /^lets us in \(its command was not run\)$/],
    ['ok nodel', /^lets us write to \/ \(dry run\)$/],
    ['warn trigger', /^answers, and has no main\/x86_64\/APKINDEX\.tar\.gz: is url the directory that is pushed to\?/],
    ['warn nodel', /^the account may not delete, .*: ask its admin to take -no-del from the authorized_keys line$/],
    ['fail nodel', /^no usable answer: .*ECONNREFUSED.*: does its web server run, is the port of url right\?$/],
    ['fail readonly', /^option_refused: .*restricted to the other direction: check -ro and -wo of rrsync/],
    ['fail hostkey', /^host_key: .*the host key is not the pinned one: it showed ssh-ed25519 SHA256:.*: ask its admin/],
    ['fail wrongkey', /^auth: .*the key is not accepted: check user, identity and authorized_keys there/],
    ['fail deadport', /^refused: .*nothing listens there: check host and port/],
    ['fail wrongpath', /^not_found: .*the directory is not there: is the disk mounted, is path right\?/],
    ['fail wrongpath-rsync', /^not_found: .*the directory is not there: is the disk mounted, is path right\?/],
    ['fail norsync', /^remote_shell: .*the account does not run rsync/],
    ['fail nosftp', /^protocol: .*the other side does not speak SFTP/],
  ];
  assert.deepEqual(
    said.map(([name]) => name),
    expected.map(([name]) => name),
    `${check.stdout}${check.stderr}`,
  );
  for (const [n, [name, words]] of expected.entries()) assert.match(said[n]?.[1] ?? '', words, name);
  assert.deepEqual(await readdir(far, { recursive: true }), names);
  assert.deepEqual(await snapshot(far), before);

  // The doctor tells the same, and of this machine; what it says goes away once it was done.
  await chmod(stranger, 0o644);
  await writeFile(join(primary.directory, 'keys', `${primary.key.name}.validity`), 'not_after = 2001-01-01\n');
  const sick = await lockstepd('doctor', '--json');
  assert.equal(sick.code, 1, sick.stderr);
  const { findings } = JSON.parse(sick.stdout) as { findings: Found[] };
  const failed = findings
    .filter(({ level }) => level === 'fail')
    .map(({ group, what, found }) => `${group}: ${what}: ${found}`);
  assert.equal(failed.filter((line) => line.startsWith('mirrors: ')).length, 9, failed.join('\n'));
  const here = failed.filter((line) => !line.startsWith('mirrors: ')).join('\n');
  assert.match(
    here,
    /^owners and modes: private key of mirror wrongkey, .*: mode 0644 lets others read or change it$/m,
  );
  assert.match(here, /^signing keys: signing keys of bpo: .* has expired: signatures by it are refused$/m);
  assert.equal(here.split('\n').length, 2, here);
  assert.deepEqual(await snapshot(far), before);

  await primary.configure({ mirrors: good });
  await writeFile(join(primary.directory, 'keys', `${primary.key.name}.validity`), 'not_after = 2099-01-01\n');
  const well = await lockstepd('doctor');
  assert.equal(well.code, 0, well.stdout);
  assert.match(well.stdout, /^service\n.*\n?ok {4}socket .*: the daemon serves generation 1$/m);
  assert.match(well.stdout, /^\d+ ok, \d+ to look at, 0 failed\n$/m);
  await primary.stop();
  const stopped = await lockstepd('doctor');
  assert.equal(stopped.code, 0, stopped.stdout);
  assert.match(stopped.stdout, /^warn {2}socket .*: no daemon runs.*: systemctl start lockstepd/m);
  await writeFile(primary.configFile, 'root: 1\n');
  const bad = await lockstepd('doctor');
  assert.equal(bad.code, 78);
  assert.match(bad.stderr, /lockstepd\.yaml:1:7: root: /);
});
