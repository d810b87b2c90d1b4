/** The package as it is built: what is in it, whose it is, what it says of itself, and the same bytes wherever it is built. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import test from 'node:test';
import { gunzipSync } from 'node:zlib';
import { debianArchitecture } from '../../systemd/deb/control.ts';
import { missingProgram } from '../support/sshd.ts';
import { runs } from './run.ts';

const repository = resolve(import.meta.dirname, '../..');
const scripts = ['postinst', 'prerm', 'postrm'].map((name) => join(repository, 'systemd/deb', name));

async function build(directory: string, settings: string): Promise<string> {
  const temporary = join(directory, 'tmp');
  mkdirSync(temporary, { recursive: true });
  const program = `'${process.execPath}' '${join(repository, 'systemd/deb/build.ts')}'`;
  const options = `--compression none --version 1.0~try-1 --out '${directory}'`;
  const identity = 'SOURCE_DATE_EPOCH=1700000000 DEBFULLNAME=Test DEBEMAIL=test@example.org';
  await runs(['sh', '-euc', `${settings}; TMPDIR='${temporary}' ${identity} exec ${program} ${options}`], {
    timeoutMs: 120_000,
  });
  return join(directory, readdirSync(directory).find((name) => name.endsWith('.deb')) ?? '');
}

async function digest(file: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  return hash.digest('hex');
}

test('the package holds what runs and nothing else, is the same wherever it is built, and runs from where it lies', async (t) => {
  const missing = missingProgram('dpkg-deb', 'git');
  if (missing !== undefined) return t.skip(`${missing} absent`);
  const base = mkdtempSync(join(tmpdir(), 'lockstepd-package-'));
  t.after(() => rmSync(base, { recursive: true, force: true }));
  const [deb, again] = await Promise.all([
    build(join(base, 'one'), 'umask 022'),
    build(join(base, 'a longer name'), 'umask 077; export TZ=Pacific/Auckland LC_ALL=C'),
  ]);
  assert.equal(await digest(again), await digest(deb));
  rmSync(again);

  const field = async (name: string): Promise<string> => (await runs(['dpkg-deb', '-f', deb, name])).trim();
  assert.equal(await field('Version'), '1.0~try-1');
  assert.equal(await field('Maintainer'), 'Test <test@example.org>');
  assert.equal(await field('Architecture'), debianArchitecture(process.arch));
  const depends = (await field('Depends')).split(', ');
  for (const wanted of ['rsync (>= 3.5~)', 'openssh-client', 'ca-certificates'])
    assert.ok(depends.includes(wanted), wanted);

  const entries = (await runs(['dpkg-deb', '-c', deb]))
    .trimEnd()
    .split('\n')
    .map((line) => /^(\S+) (\S+) +\d+ (\S+ \S+) \.\/(\S*)/.exec(line) ?? assert.fail(line))
    .map(([, mode = '', owner = '', time = '', name = '']) => ({ mode, owner, time, name }));
  assert.deepEqual([...new Set(entries.map(({ owner }) => owner))], ['root/root']);
  assert.equal(new Set(entries.map(({ time }) => time)).size, 1);
  assert.deepEqual([...new Set(entries.map(({ mode }) => mode))].sort(), [
    '-rw-r--r--',
    '-rwxr-xr-x',
    'drwxr-xr-x',
    'lrwxrwxrwx',
  ]);
  const files = entries.filter(({ mode }) => !mode.startsWith('d'));
  const names = files.map(({ name }) => name);
  for (const wanted of [
    'usr/bin/lockstepd',
    'usr/lib/lockstepd/bin/node',
    'usr/lib/lockstepd/dist/main.js',
    'usr/lib/systemd/system/lockstepd.service',
    'usr/lib/sysusers.d/lockstepd.conf',
    'usr/lib/tmpfiles.d/lockstepd.conf',
    'usr/share/bash-completion/completions/lockstepd',
    'usr/share/doc/lockstepd/changelog.gz',
    'usr/share/doc/lockstepd/copyright',
    'usr/share/fish/vendor_completions.d/lockstepd.fish',
    'usr/share/lockstepd/config/lockstepd.example.yaml',
    'usr/share/lockstepd/lockstepd.schema.json',
    'usr/share/man/man1/lockstepd.1.gz',
    'usr/share/man/man1/lockstepd-status.1.gz',
    'usr/share/man/man5/lockstepd.yaml.5.gz',
    'usr/share/zsh/vendor-completions/_lockstepd',
  ])
    assert.ok(names.includes(wanted), wanted);
  assert.deepEqual(
    names.filter(
      (name) => !name.startsWith('usr/') || /\.(?:[cm]?ts|map|node|c|cc|gyp|test\.yml)$|\/tests?\//.test(name),
    ),
    [],
    'no configuration, source, add-on or test',
  );
  const started = files.filter(({ mode }) => mode.startsWith('-rwx')).map(({ name }) => name);
  assert.deepEqual(
    started.filter((name) => !name.startsWith('usr/share/lockstepd/config/')),
    ['usr/bin/lockstepd', 'usr/lib/lockstepd/bin/node'],
  );
  assert.ok(
    started.includes('usr/share/lockstepd/config/pull/lockstep-pull'),
    'scripts among the examples may be started',
  );
  assert.ok(!started.includes('usr/share/lockstepd/config/lockstepd.example.yaml'));
  const root = join(base, 'root');
  await runs(['dpkg-deb', '-x', deb, root], { timeoutMs: 60_000 });
  await runs(['dpkg-deb', '-e', deb, join(base, 'control')]);
  const sums = readFileSync(join(base, 'control/md5sums'), 'utf8').trimEnd().split('\n');
  assert.deepEqual(
    sums.map((line) => line.slice(34)),
    files
      .filter(({ mode }) => mode.startsWith('-'))
      .map(({ name }) => name)
      .sort(),
  );
  const library = join(root, 'usr/lib/lockstepd');
  const { dependencies } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8')) as {
    readonly dependencies: Readonly<Record<string, string>>;
  };
  const libraries = Object.keys(dependencies).filter((name) => name !== 'node');
  const loads = `for (const name of ${JSON.stringify(libraries)}) await import(name)`;
  // From its own place, so that no node_modules further up can help out.
  const script = `cd '${library}' && bin/node --input-type=module -e '${loads}' && bin/node dist/main.js --version`;
  assert.match(await runs(['sh', '-euc', script]), /^lockstepd \d+\.\d+\.\d+\n$/);
  const pages = names.filter((name) => name.startsWith('usr/share/man/'));
  const told = pages.map((name) => gunzipSync(readFileSync(join(root, name))).toString()).join('\n');
  // Without roff's changes of font and its escapes.
  const plain = told.replaceAll(/\\f.|\\/g, '');
  const paths = [...plain.matchAll(/\/usr\/(?:share|lib)\/(?:doc\/)?lockstepd\/[\w./-]*\w/g)];
  assert.ok(paths.length > 0);
  for (const [path] of paths) assert.ok(existsSync(join(root, path)), `${path}, which a manual page names`);
  const copyright = readFileSync(join(root, 'usr/share/doc/lockstepd/copyright'), 'utf8');
  const packed = names.map((name) => /^usr\/lib\/lockstepd\/(node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(name)?.[1]);
  for (const name of new Set(packed.filter((found) => found !== undefined)))
    assert.ok(copyright.includes(`\nFiles: usr/lib/lockstepd/${name}/*\n`), `the licence of ${name}`);
});

test('the maintainer scripts are shell that every sh reads', async (t) => {
  for (const script of [...scripts, join(repository, 'systemd/deb/lockstepd')]) await runs(['sh', '-n', script]);
  if (missingProgram('shellcheck') !== undefined) return t.skip('shellcheck absent');
  await runs(['shellcheck', '--shell=dash', ...scripts, join(repository, 'systemd/deb/lockstepd')]);
});

test('a maintainer script refuses an argument that it does not know', async () => {
  for (const script of scripts) await runs(['sh', script, 'unheard-of'], { code: 1 });
});
