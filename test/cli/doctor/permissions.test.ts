import assert from 'node:assert/strict';
import test from 'node:test';
import { accountOf, parseAccounts, type PathFacts, permits, type SeenPath } from '../../../src/cli/doctor/accounts.ts';
import { findingLine } from '../../../src/cli/doctor/finding.ts';
import { parentsOf } from '../../../src/cli/doctor/parents.ts';
import { judgePermissions, type PermissionFacts } from '../../../src/cli/doctor/permissions.ts';

const accounts = parseAccounts(
  [
    'root:x:0:0:root:/root:/bin/bash',
    'lockstepd:x:990:990:lockstepd daemon:/var/lib/lockstepd:/usr/sbin/nologin',
    'repoupload-bpo:x:991:991::/:/bin/sh',
    '',
  ].join('\n'),
  'root:x:0:\nlockstepd:x:990:\nrepoupload-bpo:x:991:lockstepd\nempty:x::\n',
);
const daemon = accountOf(accounts, 990);
const [root, upload] = [0, 991];

const at = (path: string, mode: number, uid = root, gid = uid, kind: SeenPath['kind'] = 'directory'): SeenPath => ({
  path,
  kind,
  uid,
  gid,
  mode,
  dev: 1,
});
const file = (path: string, mode: number, uid = root): SeenPath => at(path, mode, uid, uid, 'file');

const good: PermissionFacts = {
  daemon,
  accounts,
  config: file('/etc/lockstepd/lockstepd.yaml', 0o644),
  keys: [{ builder: 'bpo', directory: at('/etc/keys', 0o755), files: [file('/etc/keys/a.rsa.pub', 0o644)] }],
  secrets: [{ what: 'private key of mirror paris,', file: file('/etc/lockstepd/push-key', 0o600, 990) }],
  inboxes: [{ builder: 'bpo', directory: at('/srv/inbox/bpo', 0o750, upload) }],
  parents: [at('/', 0o755), at('/var', 0o755), at('/tmp', 0o1777)],
  root: at('/srv', 0o1775, root, 990),
  state: at('/var/lib/lockstepd', 0o750, 990),
  own: [at('/srv/trees', 0o755, 990)],
  publicLink: {
    link: at('/srv/public', 0o777, 990, 990, 'link'),
    target: 'trees/b',
    leads: at('/srv/trees/b', 0o755, 990),
  },
  directories: [{ mirror: 'usb', directory: at('/mnt/usb', 0o755, 990) }],
};
const problems = (change: Partial<PermissionFacts>): string[] =>
  judgePermissions({ ...good, ...change })
    .map(findingLine)
    .filter((line) => !line.startsWith('ok'));

test('accounts: groups come from both files, and the bits of the first class that fits count', () => {
  assert.deepEqual(daemon, {
    name: 'lockstepd',
    uid: 990,
    gids: [990, 991],
    home: '/var/lib/lockstepd',
    shell: '/usr/sbin/nologin',
  });
  assert.deepEqual(accountOf(accounts, 5).name, 'uid 5');
  assert.equal(permits(daemon, at('/x', 0o750, upload), 5), true);
  assert.equal(permits(daemon, at('/x', 0o750, upload), 2), false);
  assert.equal(permits(daemon, at('/x', 0o077, 990), 4), false, 'the owner is not helped by what others may');
  assert.equal(permits(accountOf(accounts, 0), at('/x', 0, upload), 7), true);
});

test('owners and modes as the package makes them are well', () => {
  assert.deepEqual(judgePermissions(good).map(findingLine), [
    'ok    configuration /etc/lockstepd/lockstepd.yaml: mode 0644',
    'ok    keys of bpo /etc/keys: mode 0755',
    'ok    private key of mirror paris, /etc/lockstepd/push-key: mode 0600, of lockstepd',
    'ok    root /srv: mode 1775',
    'ok    state /var/lib/lockstepd: mode 0750, of lockstepd',
    'ok    /srv/trees: mode 0755, of lockstepd',
    'ok    inbox of bpo /srv/inbox/bpo: mode 0750, of repoupload-bpo',
    'ok    public /srv/public: trees/b',
    'ok    mirror usb /mnt/usb: lockstepd may write there',
  ]);
});

test('before the first start what the daemon makes itself is not missed', () => {
  const absent = (path: string): PathFacts => ({ path, kind: 'absent' });
  assert.deepEqual(
    problems({
      state: absent('/var/lib/lockstepd'),
      own: [absent('/srv/trees')],
      publicLink: { link: absent('/srv/public'), target: null, leads: absent('/srv/public') },
    }),
    [],
  );
});

const secret = (facts: PathFacts): Partial<PermissionFacts> => ({
  secrets: [{ what: 'private key of paris,', file: facts }],
});
const inbox = (facts: PathFacts): Partial<PermissionFacts> => ({ inboxes: [{ builder: 'bpo', directory: facts }] });
const link = (change: Partial<PermissionFacts['publicLink']>): Partial<PermissionFacts> => ({
  publicLink: { ...good.publicLink, ...change },
});
const key = 'private key of paris, /k';
const box = 'inbox of bpo /i';
const ownAccount =
  'give each builder an account that owns its inbox and nothing else (systemd/lockstepd.sysusers.conf)';

test('every directory above is looked at once, from the top', () => {
  assert.deepEqual(parentsOf(['/srv/mirror/inbox/one', '/srv/mirror', '/etc/x']), [
    '/',
    '/srv',
    '/srv/mirror',
    '/srv/mirror/inbox',
    '/etc',
  ]);
});

const table: readonly (readonly [Partial<PermissionFacts>, string])[] = [
  [
    { parents: [at('/home', 0o700)] },
    'fail  directory /home: mode 0700 keeps lockstepd from everything below it: chmod a+x /home',
  ],
  [
    { parents: [at('/data', 0o777)] },
    'fail  directory /data: mode 0777 lets everybody replace what is in it: chmod o-w /data',
  ],
  [{ config: file('/c', 0o664, 990) }, 'fail  configuration /c: mode 0664 lets others write: chmod go-w /c'],
  [{ config: file('/c', 0o646) }, 'fail  configuration /c: mode 0646 lets others write: chmod go-w /c'],
  [{ config: file('/c', 0o600) }, 'fail  configuration /c: lockstepd may not read it: chmod a+rX /c'],
  [
    { config: file('/c', 0o644, upload) },
    'warn  configuration /c: belongs to uid 991, who decides by it what is trusted: chown root: /c',
  ],
  [
    { keys: [{ builder: 'bpo', directory: at('/etc/keys', 0o777), files: [] }] },
    'fail  keys of bpo /etc/keys: mode 0777 lets others write: chmod go-w /etc/keys',
  ],
  [
    { keys: [{ builder: 'bpo', directory: at('/etc/keys', 0o755), files: [file('/etc/keys/a.pub', 0o666)] }] },
    'fail  key of bpo /etc/keys/a.pub: mode 0666 lets others write: chmod go-w /etc/keys/a.pub',
  ],
  [
    { keys: [{ builder: 'bpo', directory: { path: '/etc/keys', kind: 'absent' }, files: [] }] },
    'fail  keys of bpo /etc/keys: is not there: make it, or mend the path in the configuration',
  ],
  [secret(file('/k', 0o640, 990)), `fail  ${key}: mode 0640 lets others read or change it: chmod 600 /k`],
  [secret(file('/k', 0o600)), `fail  ${key}: lockstepd may not read it: chown lockstepd: /k`],
  [
    secret({ path: '/k', kind: 'absent' }),
    `fail  ${key}: is not there: make it, or mend the path in the configuration`,
  ],
  [secret(at('/k', 0o700, 990)), `fail  ${key}: is no file: name the file of the key`],
  [secret({ path: '/k', kind: 'unseen' }), `warn  ${key}: this user may not look at it: run lockstepd doctor as root`],
  [inbox(at('/i', 0o777, upload)), `fail  ${box}: mode 0777 lets everybody write: chmod 750 /i`],
  [
    inbox(at('/i', 0o700, upload)),
    `fail  ${box}: lockstepd may not read it: usermod -aG repoupload-bpo lockstepd, chmod 750 /i, and restart the daemon`,
  ],
  [inbox(at('/i', 0o770, upload)), `warn  ${box}: mode 0770 lets its group write: chmod g-w /i`],
  [
    inbox(at('/i', 0o755, 990)),
    `warn  ${box}: belongs to lockstepd and not to an upload account of its own: ${ownAccount}`,
  ],
  [inbox(at('/i', 0o755)), `warn  ${box}: belongs to root and not to an upload account of its own: ${ownAccount}`],
  [
    inbox({ path: '/i', kind: 'absent' }),
    `warn  ${box}: is not there, so nothing can be uploaded: make it: systemd/lockstepd.tmpfiles.conf shows how`,
  ],
  [inbox(file('/i', 0o644, upload)), `fail  ${box}: is no directory: make it one`],
  [
    { root: at('/srv', 0o755) },
    'fail  root /srv: lockstepd may not write there, so the link public cannot be changed: chgrp lockstepd /srv && chmod 1775 /srv',
  ],
  [{ root: at('/srv', 0o1777) }, 'fail  root /srv: mode 1777 lets everybody write: chmod o-w /srv'],
  [
    { root: { path: '/srv', kind: 'absent' } },
    'fail  root /srv: is not there: install -d -o root -g lockstepd -m 1775 /srv',
  ],
  [{ state: at('/s', 0o750) }, 'fail  state /s: lockstepd may not write there: chown lockstepd: /s'],
  [{ state: at('/s', 0o777, 990) }, 'fail  state /s: mode 0777 lets others write: chmod 750 /s'],
  [
    { own: [at('/srv/trees', 0o755)] },
    'fail  /srv/trees: belongs to uid 0 and not to lockstepd, who keeps there what is verified: chown -R lockstepd: /srv/trees',
  ],
  [{ own: [at('/srv/trees', 0o775, 990)] }, 'fail  /srv/trees: mode 0775 lets others write: chmod go-w /srv/trees'],
  [
    link({ target: null }),
    'fail  public /srv/public: is no link, so nothing can be published: lockstepd adopt takes it over, with what is in it',
  ],
  [
    link({ target: '/srv/trees/b' }),
    'fail  public /srv/public: leads to /srv/trees/b, expected one of trees/: it was changed by hand: restart the daemon',
  ],
  [
    link({ leads: { path: '/srv/public', kind: 'absent' } }),
    'fail  public /srv/public: leads to trees/b, which is gone: restart the daemon: it makes the tree anew',
  ],
  [
    link({ link: at('/srv/public', 0o777, upload, upload, 'link') }),
    'warn  public /srv/public: belongs to uid 991: rsync refuses to follow it: chown -h lockstepd: /srv/public',
  ],
  [
    { directories: [{ mirror: 'usb', directory: at('/mnt/usb', 0o755) }] },
    'fail  mirror usb /mnt/usb: lockstepd may not write there: chown lockstepd: /mnt/usb',
  ],
  [
    { directories: [{ mirror: 'usb', directory: { path: '/mnt/usb', kind: 'absent' } }] },
    'warn  mirror usb /mnt/usb: is not there: is the disk mounted?',
  ],
];

for (const [change, expected] of table)
  test(`owners and modes: ${expected.slice(6, 90)}`, () => assert.deepEqual(problems(change), [expected]));

test('a daemon that runs as root may use the keys of root', () => {
  const rest = { state: at('/s', 0o750), own: [], ...link({ link: at('/srv/public', 0o777, 0, 0, 'link') }) };
  assert.deepEqual(problems({ daemon: accountOf(accounts, 0), ...rest, ...secret(file('/k', 0o600)) }), []);
});
