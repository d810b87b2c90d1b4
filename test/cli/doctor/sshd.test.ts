import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import test from 'node:test';
import { findingLine } from '../../../src/cli/doctor/finding.ts';
import { systemMachine } from '../../../src/cli/doctor/machine.ts';
import {
  judgeUpload,
  keyFilesOf,
  parseKeyLines,
  parseSettings,
  type UploadFacts,
} from '../../../src/cli/doctor/sshd.ts';
import { temporaryDirectory } from '../../support/apk.ts';
import { makeKeyFile, missingProgram } from '../../support/sshd.ts';

const config = resolve(import.meta.dirname, '../../../config/sshd');
/** The lines of a shipped sample that are no comments. */
const keyLines = (name: string): string[] =>
  readFileSync(resolve(config, name), 'utf8')
    .split('\n')
    .filter((row) => row.startsWith('restrict'));

const settings = [
  'disableforwarding yes',
  'allowtcpforwarding yes',
  'permittty no',
  'permituserrc no',
  'passwordauthentication no',
  'kbdinteractiveauthentication no',
  'forcecommand none',
  'chrootdirectory none',
].join('\n');
const keyFile = (text: string | null, ownerUid = 0, mode = 0o644) => ({ path: '/keys/up', text, ownerUid, mode });
const key = 'ssh-ed25519 AAAA builder';
const line = (command: string, options = 'restrict'): string => `${options},command="${command}" ${key}\n`;
const good = '/usr/bin/rrsync -wo -munge -no-del /srv/mirror/inbox/example';

const facts: UploadFacts = {
  builder: 'example',
  fedBy: 'builder',
  account: { name: 'repoupload-example', uid: 991, gids: [991], home: '/', shell: '/bin/sh' },
  inbox: '/srv/mirror/inbox/example',
  settings,
  askedByRoot: true,
  keyFiles: [keyFile(keyLines('authorized_keys.builder').join('\n'))],
};
const judge = (change: Partial<UploadFacts>): string[] => judgeUpload({ ...facts, ...change }).map(findingLine);
const problems = (change: Partial<UploadFacts>): string[] => judge(change).filter((found) => !found.startsWith('ok'));
const keys = (text: string | null): Partial<UploadFacts> => ({ keyFiles: [keyFile(text)] });

test('the shipped snippets make a builder that can only upload', () => {
  assert.deepEqual(judge({}), [
    'ok    sshd for repoupload-example (inbox of example): no forwarding, no terminal, no passwords',
    'ok    key /keys/up:1: rrsync -wo -munge -no-del into the inbox',
  ]);
});

test('the shipped lines of an upstream are judged as such', () => {
  const upstream: Partial<UploadFacts> = { fedBy: 'upstream', inbox: '/srv/mirror/inbox/upstream.example.org' };
  const rows = keyLines('authorized_keys.upstream');
  assert.deepEqual(problems({ ...upstream, ...keys(`${rows[0]}\n`) }), []);
  const jailed = settings.replace('forcecommand none', 'forcecommand internal-sftp -d /inbox');
  const chroot = { settings: jailed.replace('chrootdirectory none', 'chrootdirectory /srv/feed/%u') };
  assert.deepEqual(problems({ ...upstream, ...chroot, ...keys(`${rows[1]}\n`) }), []);
});

const what = 'sshd for repoupload-example (inbox of example)';
const mend = 'take the line of config/sshd/authorized_keys.builder';
const snippet =
  'install config/sshd/lockstepd.conf (leaf.conf for an upstream) as /etc/ssh/sshd_config.d/lockstepd.conf';
const table: readonly (readonly [Partial<UploadFacts>, string])[] = [
  [
    { keyFiles: [keyFile(line(good), 0, 0o664)] },
    `fail  ${what}: /keys/up may be written by others: sshd takes no key from it: chmod go-w /keys/up`,
  ],
  [{ settings: null }, `warn  ${what}: sshd -T does not tell its settings: run sshd -T, and mend what it complains of`],
  [
    { settings: null, askedByRoot: false },
    `warn  ${what}: sshd does not tell this user its settings: run lockstepd doctor as root: it asks sshd -T`,
  ],
  [
    {
      settings: settings
        .replace('disableforwarding yes', 'disableforwarding no')
        .replace('permittty no', 'permittty yes'),
    },
    `warn  ${what}: lacks DisableForwarding yes, PermitTTY no: ${snippet}`,
  ],
  [
    { account: { ...facts.account, shell: '/usr/sbin/nologin' } },
    `fail  ${what}: its shell is /usr/sbin/nologin, by which sshd cannot run rrsync: usermod --shell /bin/sh repoupload-example`,
  ],
  [
    keys(null),
    `fail  ${what}: no key in /keys/up, so nobody can upload: add the line of config/sshd/authorized_keys.builder`,
  ],
  [
    { keyFiles: [keyFile(line(good), 991)] },
    `warn  ${what}: /keys/up belongs to repoupload-example, who can lift its own restrictions: chown root: /keys/up`,
  ],
  [keys(`${key}\n`), `fail  key /keys/up:1: has no forced command: its holder gets a shell: ${mend}`],
  [
    keys(line('/bin/sh')),
    `warn  key /keys/up:1: runs /bin/sh, which doctor does not know: ${mend}, unless you know what it allows`,
  ],
  [
    keys(line(good.replace('-wo ', ''))),
    `fail  key /keys/up:1: rrsync without -wo lets its holder read the inbox: ${mend}`,
  ],
  [
    keys(line(good.replace('-wo', '-wo -no-lock'))),
    'fail  key /keys/up:1: rrsync -no-lock hides from lockstepd that an upload is under way: take -no-lock away',
  ],
  [
    keys(line(good.replace('/example', '/other'))),
    `fail  key /keys/up:1: rrsync leads to /srv/mirror/inbox/other, the inbox is /srv/mirror/inbox/example: ${mend}`,
  ],
  [
    keys(line(good.replace('-munge ', ''))),
    'warn  key /keys/up:1: rrsync without -munge lets symlinks in as they are: add -munge',
  ],
  [
    keys(line(good.replace('-no-del ', ''))),
    'warn  key /keys/up:1: rrsync without -no-del lets its holder delete what was uploaded: add -no-del',
  ],
  [
    { fedBy: 'upstream', ...keys(line(good)) },
    'warn  key /keys/up:1: rrsync -no-del keeps what the upstream prunes for ever: take -no-del away',
  ],
  [
    keys(line(good, 'no-pty')),
    'warn  key /keys/up:1: lacks restrict, which turns off forwarding and terminals: write restrict, before command=',
  ],
  [
    keys(line('internal-sftp')),
    'fail  key /keys/up:1: internal-sftp without ChrootDirectory shows the whole disk: config/sshd/leaf.conf shows how',
  ],
  [
    { settings: settings.replace('forcecommand none', 'forcecommand /bin/false') },
    `warn  key /keys/up:1: runs /bin/false, which doctor does not know: ${mend}, unless you know what it allows`,
  ],
];

for (const [change, expected] of table)
  test(`uploads: ${expected.slice(6, 100)}`, () => assert.deepEqual(problems(change), [expected]));

test('authorized_keys: options with quotes, spaces and commas are read as sshd reads them', () => {
  const text = `# comment\n\nrestrict,command="rrsync -wo \\"/a b\\"",from="10.0.0.1,10.0.0.2" ${key}\n${key}\n`;
  const found = parseKeyLines(text).map(({ line: number, options }) => [number, [...options]]);
  assert.deepEqual(found, [
    [
      3,
      [
        ['restrict', ''],
        ['command', 'rrsync -wo "/a b"'],
        ['from', '10.0.0.1,10.0.0.2'],
      ],
    ],
    [4, []],
  ]);
});

test('sshd settings: the first of a key counts, tokens of AuthorizedKeysFile are filled in', () => {
  assert.equal(parseSettings('permittty no\npermittty yes\n').get('permittty'), 'no');
  const account = { name: 'up', uid: 7 };
  assert.deepEqual(keyFilesOf('/etc/keys/%u .ssh/%U.%% %h/x', account, '/home/up'), [
    '/etc/keys/up',
    '/home/up/.ssh/7.%',
    '/home/up/x',
  ]);
  assert.deepEqual(keyFilesOf('none', account, '/'), []);
});

test('what the real sshd makes of the shipped snippets lacks nothing', async (t) => {
  const missing = missingProgram('sshd', 'ssh-keygen');
  if (missing !== undefined) return t.skip(`${missing} absent`);
  const directory = temporaryDirectory(t);
  await makeKeyFile(join(directory, 'host'));
  if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
  const machine = systemMachine(process.env, new AbortController().signal);
  const ask = async (name: string, sample: string): Promise<string> => {
    const file = join(directory, 'sshd_config');
    const text = readFileSync(resolve(config, sample), 'utf8');
    writeFileSync(file, `HostKey ${join(directory, 'host')}\n${text}`);
    const client = `user=${name},host=localhost,addr=127.0.0.1`;
    const said = await machine.run([machine.program('sshd') ?? '', '-T', '-f', file, '-C', client]);
    assert.ok(said !== null, `sshd -T for ${name}`);
    return said;
  };
  const builder = await ask('repoupload-example', 'lockstepd.conf');
  assert.deepEqual(problems({ settings: builder }), []);
  assert.deepEqual(keyFilesOf(parseSettings(builder).get('authorizedkeysfile') ?? '', facts.account, '/'), [
    '/etc/lockstepd/authorized_keys.d/repoupload-example',
  ]);
  const upstream: Partial<UploadFacts> = { fedBy: 'upstream', inbox: '/srv/mirror/inbox/upstream.example.org' };
  const [rrsync = '', sftp = ''] = keyLines('authorized_keys.upstream');
  assert.deepEqual(problems({ ...upstream, settings: await ask('repofeed-x', 'leaf.conf'), ...keys(rrsync) }), []);
  assert.deepEqual(problems({ ...upstream, settings: await ask('sftpfeed-x', 'leaf.conf'), ...keys(sftp) }), []);
  // An account that no snippet is for.
  assert.match(problems({ settings: await ask('nobody', 'lockstepd.conf') })[0] ?? '', /lacks DisableForwarding yes/);
});
