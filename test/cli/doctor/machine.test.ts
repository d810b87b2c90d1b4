import assert from 'node:assert/strict';
import test from 'node:test';
import { judgeDisks, sizeText } from '../../../src/cli/doctor/disks.ts';
import { findingLine, findingsJson, hasFailed, ok, summaryLine, warn } from '../../../src/cli/doctor/finding.ts';
import { judgeClock, judgeLimits } from '../../../src/cli/doctor/limits.ts';
import { isAtLeast, judgePrograms, type ProgramFacts } from '../../../src/cli/doctor/programs.ts';

const lines = (findings: readonly Parameters<typeof findingLine>[0][]): string[] => findings.map(findingLine);

const programs: ProgramFacts = {
  node: '24.21.0',
  kernel: '6.1.0-13-amd64',
  rsync: '3.5.0',
  rrsync: { path: '/usr/bin/rrsync', options: ['-ro', '-wo', '-munge', '-no-del'] },
  sshd: '9.2p1',
  rclone: '1.60.1',
  uses: { rsyncMirrors: true, rcloneMirrors: true, uploads: true },
};

test('programs: what is there and new enough is told with its version', () => {
  assert.deepEqual(lines(judgePrograms(programs)), [
    'ok    node: 24.21.0',
    'ok    kernel: 6.1.0-13-amd64',
    'ok    rsync: 3.5.0',
    'ok    rrsync: /usr/bin/rrsync knows -ro -wo -munge -no-del',
    'ok    sshd: 9.2p1',
    'ok    rclone: 1.60.1',
  ]);
});

const programProblems: readonly (readonly [Partial<ProgramFacts>, string])[] = [
  [{ node: '22.11.0' }, 'fail  node: 22.11.0 is too old: install Node 24.12 or newer, or use the one of the package'],
  [{ kernel: '4.19.0' }, 'warn  kernel: 4.19.0 is not maintained any more: upgrade to Linux 5.10 or newer'],
  [
    { rsync: '3.2.7' },
    'fail  rsync: 3.2.7 is too old: install rsync 3.5 or newer (on Debian 12 from bookworm-security)',
  ],
  [{ rsync: null }, 'fail  rsync: is not installed: install rsync 3.5 or newer (on Debian 12 from bookworm-security)'],
  [{ rrsync: null }, 'fail  rrsync: is not installed, so builders have no way in: install rsync 3.5 or newer'],
  [
    { rrsync: { path: '/usr/bin/rrsync', options: ['-ro', '-wo'] } },
    'fail  rrsync: /usr/bin/rrsync does not know -munge -no-del: install rsync 3.5 or newer, and python3, which its rrsync needs',
  ],
  [{ sshd: null }, 'warn  sshd: is not installed, so builders cannot come over ssh: install openssh-server'],
  [{ rclone: null }, 'fail  rclone: is not installed, and a mirror needs it: install rclone 1.60 or newer'],
  [{ rclone: '1.53.3' }, 'fail  rclone: 1.53.3 is too old: install rclone 1.60 or newer'],
];

for (const [change, expected] of programProblems)
  test(`programs: ${expected.slice(6, 60)}`, () => {
    const found = lines(judgePrograms({ ...programs, ...change })).filter((line) => !line.startsWith('ok'));
    assert.deepEqual(found, [expected]);
  });

test('programs: what is not used is not missed', () => {
  const uses = { rsyncMirrors: false, rcloneMirrors: false, uploads: false };
  const facts = { ...programs, rsync: null, rrsync: null, sshd: null, rclone: null, uses };
  assert.deepEqual(lines(judgePrograms(facts)), ['ok    node: 24.21.0', 'ok    kernel: 6.1.0-13-amd64']);
});

test('versions are compared number by number', () => {
  for (const [version, wanted, expected] of [
    ['3.10.1', '3.5', true],
    ['3.5', '3.5', true],
    ['24.9.0', '24.12', false],
    ['6.18.44-fc-v669', '5.10', true],
    ['unknown version', '3.5', false],
  ] as const)
    assert.equal(isAtLeast(version, wanted), expected, `${version} ${wanted}`);
});

test('limits: room for what is watched and opened, and what to do without', () => {
  const facts = { published: { repositories: 100 }, inboxes: 2, mirrors: 10 };
  const enough = {
    ...facts,
    maxWatches: 65_536,
    maxInstances: 128,
    openFiles: { limit: 65_536, of: 'the daemon' },
  } as const;
  assert.deepEqual(lines(judgeLimits(enough)), [
    'ok    inotify watches: 65536 may be had, about 1632 may be needed',
    'ok    inotify instances: 128 may be had, about 16 may be needed',
    'ok    open files: the daemon may have 65536, about 576 may be needed',
  ]);
  const scarce = { ...facts, maxWatches: 1000, maxInstances: 4, openFiles: { limit: 512, of: 'the unit' } } as const;
  assert.deepEqual(lines(judgeLimits(scarce)), [
    'warn  inotify watches: 1000 may be had, about 1632 may be needed: changes are then seen only by the rescan: sysctl -w fs.inotify.max_user_watches=4096, and the same in /etc/sysctl.d/lockstepd.conf',
    'warn  inotify instances: 4 may be had, about 16 may be needed: changes are then seen only by the rescan: sysctl -w fs.inotify.max_user_instances=32, and the same in /etc/sysctl.d/lockstepd.conf',
    'fail  open files: the unit may have 512, about 576 may be needed: raise LimitNOFILE= of the unit (systemctl edit lockstepd), or ulimit -n',
  ]);
  assert.deepEqual(lines(judgeLimits({ ...facts, maxWatches: null, maxInstances: null, openFiles: null })), [
    'warn  inotify watches: fs.inotify.max_user_watches cannot be read: look at it yourself: sysctl fs.inotify.max_user_watches',
    'warn  inotify instances: fs.inotify.max_user_instances cannot be read: look at it yourself: sysctl fs.inotify.max_user_instances',
    'warn  open files: the limit cannot be read: look at it yourself: ulimit -Hn',
  ]);
});

test('clock: set, not set, nobody to ask', () => {
  const judge = (synchronized: Parameters<typeof judgeClock>[0]['synchronized']): string =>
    findingLine(judgeClock({ synchronized }));
  assert.equal(judge({ by: 'chronyc', value: true }), 'ok    clock: set by the network (chronyc)');
  assert.equal(
    judge({ by: 'timedatectl', value: false }),
    'warn  clock: not set by the network (timedatectl): timedatectl set-ntp true, and see whether a firewall drops NTP (UDP port 123)',
  );
  assert.match(judge(null), /^warn {2}clock: nothing tells .*: install systemd-timesyncd or chrony: /);
});

const GiB = 2 ** 30;
const space = { type: 0xef53, freeBytes: 50 * GiB, totalBytes: 100 * GiB, freeFiles: 900, totalFiles: 1000 };
const disks = {
  root: { path: '/srv/mirror', space },
  state: { path: '/var/lib/lockstepd', space },
  reserveBytes: GiB,
  rootDevice: 1,
  parts: [{ path: '/srv/mirror/trees', device: 1 }],
};

test('disks: a good one', () => {
  assert.deepEqual(lines(judgeDisks(disks)), [
    'ok    root /srv/mirror: ext4: hard links, no reflinks (not needed)',
    'ok    state /var/lib/lockstepd: ext4',
    'ok    space of root: 50.0 GiB of 100 GiB free, 1.0 GiB of it reserved',
    'ok    space of state: 50.0 GiB of 100 GiB free',
    'ok    one file system: root and everything below it',
  ]);
});

const onRoot = (change: Partial<typeof space>): typeof disks => ({
  ...disks,
  root: { ...disks.root, space: { ...space, ...change } },
});
const onState = (change: Partial<typeof space>): typeof disks => ({
  ...disks,
  state: { ...disks.state, space: { ...space, ...change } },
});
const room = 'make room: lockstepd prune --dry-run says what would go, else enlarge the disk';
const diskProblems: readonly (readonly [Parameters<typeof judgeDisks>[0], string])[] = [
  [
    onRoot({ type: 0x6969 }),
    'warn  root /srv/mirror: nfs: events of other hosts, the lock of rrsync and a power cut are not what they are on a disk: put root on a local disk',
  ],
  [
    onState({ type: 0x65735546 }),
    'fail  state /var/lib/lockstepd: fuse cannot hold the database (its locks and shared memory): put it on a local disk',
  ],
  [
    onRoot({ type: 0x4d44 }),
    'fail  root /srv/mirror: vfat has no hard links, which trees are made of: use ext4, xfs or btrfs',
  ],
  [
    onState({ type: 0x01021994 }),
    'fail  state /var/lib/lockstepd: tmpfs forgets everything at a restart: put it on a disk: ext4, xfs or btrfs',
  ],
  [
    onRoot({ type: 0x1234 }),
    'warn  root /srv/mirror: its file system (type 0x1234) is none that lockstepd was tried on: ext4, xfs or btrfs keep every promise',
  ],
  [
    onRoot({ freeBytes: GiB }),
    `fail  space of root: 1.0 GiB of 100 GiB free, and 1.0 GiB are reserved: nothing can be published: ${room}`,
  ],
  [onRoot({ freeBytes: 1.5 * GiB }), `warn  space of root: 1.5 GiB of 100 GiB free, 1.0 GiB of it reserved: ${room}`],
  [onState({ freeBytes: 4 * GiB }), `warn  space of state: 4.0 GiB of 100 GiB free: ${room}`],
  [onRoot({ freeFiles: 0 }), `fail  space of root: no inode is free: ${room}`],
  [onRoot({ freeFiles: 20 }), `warn  space of root: 20 of 1000 inodes are free: ${room}`],
  [
    { ...disks, parts: [{ path: '/srv/mirror/ingest', device: 2 }, ...disks.parts] },
    'fail  one file system: /srv/mirror/ingest on another one than /srv/mirror: files are renamed and hard-linked between them: mount one file system at root',
  ],
];

for (const [facts, expected] of diskProblems)
  test(`disks: ${expected.slice(6, 80)}`, () => {
    assert.deepEqual(
      lines(judgeDisks(facts)).filter((line) => !line.startsWith('ok')),
      [expected],
    );
  });

test('disks: a file system that counts no inodes is not out of them, and xfs can share blocks', () => {
  const found = lines(judgeDisks(onRoot({ type: 0x58465342, freeFiles: 0, totalFiles: 0 })));
  assert.equal(found[0], 'ok    root /srv/mirror: xfs: hard links, copies can share blocks');
  assert.match(found[2] ?? '', /^ok {4}space of root/);
});

test('disks: what this user may not look at is said', () => {
  const found = lines(judgeDisks({ ...disks, root: { path: '/srv/mirror', space: null }, rootDevice: null }));
  const hidden = 'this user may not look at it: run lockstepd doctor as root';
  assert.deepEqual(
    found.filter((line) => line.startsWith('warn')),
    [
      `warn  root /srv/mirror: ${hidden}`,
      `warn  space of root /srv/mirror: ${hidden}`,
      `warn  one file system /srv/mirror: ${hidden}`,
    ],
  );
});

test('sizes are written in the largest unit', () => {
  const sizes = [0, 1023, 1536, 200 * 2 ** 20, 3 * 2 ** 40].map(sizeText);
  assert.deepEqual(sizes, ['0 B', '1023 B', '1.5 KiB', '200 MiB', '3.0 TiB']);
});

test('findings: only a failure fails, and JSON keeps the group of each', () => {
  const groups = [
    { title: 'a', findings: [ok('x', 'well')] },
    { title: 'b', findings: [warn('y', 'hm', 'do it')] },
  ];
  assert.equal(hasFailed(groups), false);
  assert.equal(summaryLine(groups), '1 ok, 1 to look at, 0 failed');
  assert.deepEqual(JSON.parse(findingsJson(groups)), {
    version: 1,
    ok: true,
    findings: [
      { group: 'a', level: 'ok', what: 'x', found: 'well', remedy: null },
      { group: 'b', level: 'warn', what: 'y', found: 'hm', remedy: 'do it' },
    ],
  });
});
