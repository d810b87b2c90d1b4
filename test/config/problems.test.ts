import assert from 'node:assert/strict';
import test from 'node:test';
import { fingerprint, good, world } from './world.ts';

const second = (lines: string): string =>
  `mirrors:\n  - name: disk\n    transport: { type: directory, path: /mnt/disk }\n${lines}`;
const inboxTwo =
  '  - builder: two\n    path: inbox/two\n    repositories: ["edge/{arch}"]\n    keys: $T/keys\nmirrors:\n';
const anyDuration = 'expected a duration such as 500ms, 5s, 10m, 48h or 7d';

/** Title, what to replace in the good configuration, by what, and every problem that is then said. */
const bad: readonly (readonly [string, string | RegExp, string, readonly string[]])[] = [
  ['an unknown key', 'state:', 'stat: x\nstate:', ['2:1: stat: unknown key, did you mean state?']],
  [
    'an unknown key that resembles none',
    '      path: /\n',
    '      path: /\n      compression: best\n',
    [
      '15:7: mirrors[0].transport.compression: unknown key, expected one of type, host, port, user, path, identity, host_key, timeout, deadline, fsync',
    ],
  ],
  ['a missing key', 'state: $T/state\n', '', ['1:1: state: missing, expected an absolute path']],
  [
    'a missing key of an inbox',
    '    path: inbox/one\n',
    '',
    ['4:5: inboxes[0].path: missing, expected a path below root'],
  ],
  ['a list for text', '$T/state', '[a]', ['2:8: state: a list, expected an absolute path']],
  [
    'text for a list',
    '["main/{arch}"]',
    'main/*',
    ['6:19: inboxes[0].repositories: "main/*", expected a list of one or more path templates'],
  ],
  [
    'an empty list',
    '["main/{arch}"]',
    '[]',
    ['6:19: inboxes[0].repositories: a list, expected a list of one or more path templates'],
  ],
  [
    'text for a mapping',
    /mirrors:\n[^]*/,
    'mirrors: [disk]\n',
    [
      '8:11: mirrors[0]: "disk", expected a mirror with the keys name, url, transport, takeover_after, include, exclude, bandwidth, quiet',
    ],
  ],
  [
    'a number for a name',
    'builder: one',
    'builder: 1',
    ['4:14: inboxes[0].builder: 1, expected a name of 1 to 63 letters, digits, dots, dashes and underscores'],
  ],
  [
    'a name that is no directory name',
    'paris',
    '../paris',
    ['9:11: mirrors[0].name: "../paris", expected a name of 1 to 63 letters, digits, dots, dashes and underscores'],
  ],
  ['a relative root', 'root: $T/mirror', 'root: mirror', ['1:7: root: "mirror", expected an absolute path']],
  [
    'a path with ..',
    '$T/state',
    '$T/mirror/../state',
    ['2:8: state: "$T/mirror/../state", expected a path without .. or control characters'],
  ],
  [
    'a path with a control character',
    '$T/state',
    '"/state\\e"',
    ['2:8: state: "/state\\u001b", expected a path without .. or control characters'],
  ],
  [
    'a template',
    'main/{arch}',
    'main/v{arch}',
    [
      '6:20: inboxes[0].repositories[0]: "main/v{arch}" has "v{arch}", but * and {arch} stand for whole components, expected a path such as main/{arch} or staging/*/*/{arch}',
    ],
  ],
  [
    'a duration without a unit',
    'mirrors:',
    'publish: { grace: 48 }\nmirrors:',
    [`8:19: publish.grace: "48" has no unit (known: ms, s, m, h, d), ${anyDuration}`],
  ],
  [
    'a duration out of range',
    'mirrors:',
    'schedule: { probe: 10ms }\nmirrors:',
    ['8:20: schedule.probe: "10ms", expected a duration from 1s to 1d'],
  ],
  [
    'a duration that is a list',
    'mirrors:',
    'schedule: { probe: [] }\nmirrors:',
    [`8:20: schedule.probe: a list, ${anyDuration}`],
  ],
  [
    'a cron expression',
    'mirrors:',
    'schedule: { scrub: "0 25 * * *" }\nmirrors:',
    [
      '8:20: schedule.scrub: "25" is no hour (0-23), expected five cron fields (minute hour day month weekday) such as "0 4 * * 0"',
    ],
  ],
  [
    'a scrub that would never end, and a sample of no number',
    'mirrors:',
    'scrub: { rate: 1KiB, mirror_sample: some }\nmirrors:',
    [
      '8:16: scrub.rate: "1KiB", expected at least 64KiB, read in a second',
      '8:37: scrub.mirror_sample: "some", expected all, or a whole number from 0 to 10000000',
    ],
  ],
  [
    'limits that would stop a mirror',
    'mirrors:',
    'limits: { connections: 0, bandwidth: 1KiB }\nmirrors:',
    [
      '8:24: limits.connections: 0, expected a whole number from 1 to 1000',
      '8:38: limits.bandwidth: "1KiB", expected at least 64KiB, sent in a second',
    ],
  ],
  [
    'a switch that nobody could follow',
    'mirrors:',
    'switch: { mode: both, quorum: 120%, deadline: 0 }\nmirrors:',
    [
      '8:17: switch.mode: "both", expected each or together',
      '8:31: switch.quorum: "120%", expected a share such as 80% or a number of mirrors such as 4',
      '8:47: switch.deadline: 0, expected a duration from 1s to 1d',
    ],
  ],
  [
    'a mirror that could not be taken over, and one of which nobody knows when',
    /mirrors:\n[^]*/,
    second('    takeover_after: 10m\n') +
      '  - { name: far, url: "https://mirror.example.net/", takeover_after: 10m, transport: { type: pull } }\n',
    [
      '9:5: mirrors[0].url: missing, expected the URL of the mirror: whether to take it over is only known from what it serves',
      '12:70: mirrors[1].takeover_after: not for a mirror of type pull: it pulls from where its own admin says, expected one that is pushed to',
    ],
  ],
  [
    'quiet windows that are none or leave no time, a part of no template',
    /mirrors:\n[^]*/,
    second('    quiet: ["7-9"]\n    include: ["main//x"]\n') +
      '  - name: other\n    transport: { type: directory, path: /mnt/other }\n    quiet: ["06:00-20:00", "19:00-07:00"]\n',
    [
      '11:13: mirrors[0].quiet[0]: "7-9", expected a window such as 07:00-23:00 (UTC) or "22:30-06:00 Europe/Paris"',
      '12:15: mirrors[0].include[0]: "main//x" has the component "", which is no plain name, expected a path such as main/{arch} or staging/*/*/{arch}',
      '15:12: mirrors[1].quiet: it is always quiet, expected windows that leave some time for pushes',
    ],
  ],
  [
    'a number out of range',
    'mirrors:',
    'workers: 99\nmirrors:',
    ['8:10: workers: 99, expected a whole number from 1 to 16'],
  ],
  [
    'a size without a unit that is known',
    'mirrors:',
    'reserve: 5GB\nmirrors:',
    [
      '8:10: reserve: "5GB" has the unknown unit "GB" (known: KiB, MiB, GiB, TiB), expected a size such as 500KiB, 64MiB, 2GiB or a number of bytes',
    ],
  ],
  [
    'a size that is none',
    'mirrors:',
    'quarantine: { max_size: -1 }\nmirrors:',
    ['8:25: quarantine.max_size: "-1", expected a size such as 500KiB, 64MiB, 2GiB or a number of bytes'],
  ],
  [
    'an unknown quota',
    'mirrors:',
    '    quotas: { max_files: 3 }\nmirrors:',
    ['8:15: inboxes[0].quotas.max_files: unknown key, did you mean max_file?'],
  ],
  [
    'a number with a part',
    'mirrors:',
    'publish: { max_trees: 2.5 }\nmirrors:',
    ['8:23: publish.max_trees: 2.5, expected a whole number from 2 to 64'],
  ],
  [
    'a single tree',
    'mirrors:',
    'publish: { max_trees: 1 }\nmirrors:',
    ['8:23: publish.max_trees: 1, expected a whole number from 2 to 64'],
  ],
  [
    'more than all removed',
    'mirrors:',
    'guards: { max_removed_percent: 101 }\nmirrors:',
    ['8:32: guards.max_removed_percent: 101, expected a whole number from 0 to 100'],
  ],
  [
    'a guard that is no choice',
    'mirrors:',
    'guards: { downgrade: warn }\nmirrors:',
    ['8:22: guards.downgrade: "warn", expected hold, reject or allow'],
  ],
  [
    'an unknown guard',
    'mirrors:',
    'guards: { down_grade: hold }\nmirrors:',
    ['8:11: guards.down_grade: unknown key, did you mean downgrade?'],
  ],
  [
    'a template of what may vanish',
    'mirrors:',
    'guards: { may_vanish: ["/staging"] }\nmirrors:',
    [
      '8:24: guards.may_vanish[0]: "/staging" begins or ends with a slash, expected a path such as main/{arch} or staging/*/*/{arch}',
    ],
  ],
  [
    'a guard of an inbox',
    '    keys:',
    '    guards: { max_removed: -1 }\n    keys:',
    ['7:28: inboxes[0].guards.max_removed: -1, expected a whole number from 0 to 1000000'],
  ],
  [
    'an approval that is no choice',
    '    keys:',
    '    approval: always\n    keys:',
    ['7:15: inboxes[0].approval: "always", expected if-held or required'],
  ],
  [
    'a word that is no choice',
    'mirrors:',
    'log: { level: loud }\nmirrors:',
    ['8:15: log.level: "loud", expected debug, info, warn, error or silent'],
  ],
  [
    'another word that is no choice',
    '    keys:',
    '    missing_packages: ignore\n    keys:',
    ['7:23: inboxes[0].missing_packages: "ignore", expected hold or publish'],
  ],
  [
    'a feeder that is none',
    '    keys:',
    '    fed_by: mirror\n    keys:',
    ['7:13: inboxes[0].fed_by: "mirror", expected builder or upstream'],
  ],
  [
    'an address without a port',
    'mirrors:',
    'listen: 127.0.0.1\nmirrors:',
    ['8:9: listen: "127.0.0.1", expected HOST:PORT such as 127.0.0.1:9617 or [::1]:9617'],
  ],
  [
    'a public address without a host',
    'mirrors:',
    'listen_public: 9618\nmirrors:',
    ['8:16: listen_public: 9618, expected HOST:PORT such as 127.0.0.1:9617 or [::1]:9617'],
  ],
  [
    'a port that is none',
    'mirrors:',
    'listen: 127.0.0.1:65536\nmirrors:',
    ['8:9: listen: "127.0.0.1:65536", expected HOST:PORT such as 127.0.0.1:9617 or [::1]:9617'],
  ],
  [
    'a socket path that is too long',
    'mirrors:',
    `socket: /${'s'.repeat(107)}\nmirrors:`,
    [`8:9: socket: "/${'s'.repeat(79 - 1)}…, expected an absolute path of at most 107 bytes`],
  ],
  [
    'a state whose socket path is too long',
    '$T/state',
    `/${'s'.repeat(100)}`,
    [
      `1:1: socket: missing, and /${'s'.repeat(100)}/lockstepd.sock has 116 bytes, expected a path of at most 107 bytes`,
    ],
  ],
  [
    'a URL of another scheme',
    '    transport:',
    '    url: ftp://mirror.example.fr/\n    transport:',
    [
      '10:10: mirrors[0].url: "ftp://mirror.example.fr/", expected a URL such as https://mirror.example.org/repository/, without user, query or fragment',
    ],
  ],
  [
    'a URL with a password',
    '    transport:',
    '    url: https://a:b@mirror.example.fr/\n    transport:',
    [
      '10:10: mirrors[0].url: "https://…@mirror.example.fr/", expected a URL such as https://mirror.example.org/repository/, without user, query or fragment',
    ],
  ],
  [
    'a URL with a password that makes it no URL',
    '    transport:',
    '    url: "http://user:sec/r@et@mirror.example.fr/?token=abc"\n    transport:',
    [
      '10:10: mirrors[0].url: "http://…@mirror.example.fr/?…", expected a URL such as https://mirror.example.org/repository/, without user, query or fragment',
    ],
  ],
  [
    'an unknown transport',
    'type: rsync',
    'type: ftp',
    ['11:13: mirrors[0].transport.type: "ftp", expected rsync, sftp, directory, rclone, trigger or pull'],
  ],
  [
    'a transport without a type',
    '      type: rsync\n',
    '',
    ['11:7: mirrors[0].transport.type: missing, expected rsync, sftp, directory, rclone, trigger or pull'],
  ],
  [
    'a trigger for a mirror that is not looked at',
    '      type: rsync\n      host: mirror.example.fr\n      user: lockstep\n      path: /\n',
    '      type: trigger\n      host: mirror.example.fr\n      user: lockstep\n',
    [
      '9:5: mirrors[0].url: missing, expected the URL of the mirror: what one of type trigger holds is only known from what it serves',
    ],
  ],
  [
    'a trigger with a path and a command of two lines',
    '    transport:\n      type: rsync\n',
    '    url: https://mirror.example.fr/\n    transport:\n      type: trigger\n      command: "a\\nb"\n',
    [
      '13:16: mirrors[0].transport.command: "a\\nb", expected one line of at most 1000 characters in ASCII',
      '16:7: mirrors[0].transport.path: unknown key, expected one of type, host, port, user, identity, host_key, timeout, command, min_interval',
    ],
  ],
  [
    'a host that is an option',
    'mirror.example.fr',
    '-oProxyCommand=x',
    ['12:13: mirrors[0].transport.host: "-oProxyCommand=x", expected a host name or address'],
  ],
  [
    'a user that is an option',
    'user: lockstep',
    'user: -l',
    ['13:13: mirrors[0].transport.user: "-l", expected a user name'],
  ],
  [
    'a directory that is an option',
    '      path: /\n',
    '      path: --delete\n',
    ['14:13: mirrors[0].transport.path: "--delete", expected no leading dash'],
  ],
  [
    'port 0',
    '      path: /\n',
    '      path: /\n      port: 0\n',
    ['15:13: mirrors[0].transport.port: 0, expected a whole number from 1 to 65535'],
  ],
  [
    'an MD5 fingerprint',
    fingerprint,
    'MD5:aa:bb',
    [
      '16:17: mirrors[0].transport.host_key: "MD5:aa:bb", expected SHA256: and 43 base64 characters, as ssh-keygen -lf prints',
    ],
  ],
  [
    'a fingerprint that is cut off',
    fingerprint,
    fingerprint.slice(0, -1),
    [
      `16:17: mirrors[0].transport.host_key: "${fingerprint.slice(0, -1)}", expected SHA256: and 43 base64 characters, as ssh-keygen -lf prints`,
    ],
  ],
  [
    'no host key',
    `      host_key: ${fingerprint}\n`,
    '',
    [
      '11:7: mirrors[0].transport.host_key: missing, expected SHA256: and 43 base64 characters, as ssh-keygen -lf prints, or a list of such',
    ],
  ],
  [
    'one wrong host key of two',
    fingerprint,
    `[${fingerprint}, x]`,
    [
      '16:70: mirrors[0].transport.host_key[1]: "x", expected SHA256: and 43 base64 characters, as ssh-keygen -lf prints',
    ],
  ],
  [
    'a relative identity',
    '$T/identity',
    'identity',
    ['15:17: mirrors[0].transport.identity: "identity", expected an absolute path or credential:NAME'],
  ],
  [
    'a credential that is a path',
    '$T/identity',
    'credential:../key',
    ['15:17: mirrors[0].transport.identity: "credential:../key", expected an absolute path or credential:NAME'],
  ],
  [
    'two mirrors of one name',
    'mirrors:\n',
    second('').replace('disk\n', 'paris\n'),
    ['11:11: mirrors[1].name: "paris" is also mirrors[0], expected another name'],
  ],
  [
    'two builders of one name',
    'mirrors:\n',
    inboxTwo.replace('two', 'one'),
    ['8:14: inboxes[1].builder: "one" is also inboxes[0], expected another name'],
  ],
  [
    'two inboxes in one directory',
    'mirrors:\n',
    inboxTwo.replace('inbox/two', 'inbox/./one'),
    [
      '9:11: inboxes[1].path: $T/mirror/inbox/one is the same directory as that of inboxes[0], expected a directory of its own',
    ],
  ],
  [
    'an inbox in another',
    'mirrors:\n',
    inboxTwo.replace('inbox/two', 'inbox/one/two'),
    [
      '9:11: inboxes[1].path: $T/mirror/inbox/one/two is nested with that of inboxes[0], expected a directory of its own',
    ],
  ],
  [
    'a repository in two inboxes',
    'mirrors:\n',
    inboxTwo.replace('edge/{arch}', '*/x86_64'),
    [
      '10:20: inboxes[1].repositories[0]: */x86_64 and inboxes[0].repositories[0] (main/{arch}) match the same paths, expected each repository in one inbox',
    ],
  ],
  [
    'an inbox outside of root',
    'inbox/one',
    '/srv/inbox',
    ['5:11: inboxes[0].path: /srv/inbox is not below root, expected a path below $T/mirror'],
  ],
  [
    'an inbox that is root',
    'inbox/one',
    './',
    ['5:11: inboxes[0].path: $T/mirror is not below root, expected a path below $T/mirror'],
  ],
  [
    'an inbox in the public tree',
    'inbox/one',
    'public/one',
    ["5:11: inboxes[0].path: $T/mirror/public/one is lockstepd's own directory, expected another such as inbox/NAME"],
  ],
  ['root as state', '$T/state', '$T/mirror', ['2:8: state: $T/mirror is root, expected a directory of its own']],
  ['a state that contains root', '$T/state', '$T', ['2:8: state: $T contains root, expected a directory beside it']],
  [
    'a state that would be served',
    '$T/state',
    '$T/mirror/public/state',
    ['2:8: state: $T/mirror/public/state is in $T/mirror/public, expected a directory beside it'],
  ],
  [
    'a state that a builder writes to',
    '$T/state',
    '$T/mirror/inbox/one/state',
    ['5:11: inboxes[0].path: $T/mirror/inbox/one contains state, expected a directory beside it'],
  ],
  [
    'keys that a builder writes to',
    '$T/keys',
    '$T/mirror/inbox/one/keys',
    [
      '7:11: inboxes[0].keys: $T/mirror/inbox/one/keys lies in the inbox of inboxes[0], expected a directory that no builder can write to',
    ],
  ],
  [
    'a mirror inside of root',
    'mirrors:\n',
    second('').replace('/mnt/disk', '$T/mirror/public/'),
    [
      '10:41: mirrors[0].transport.path: $T/mirror/public and $T/mirror are nested, expected a directory apart from root and state',
    ],
  ],
  [
    'a mirror that contains root',
    'mirrors:\n',
    second('').replace('/mnt/disk', '$T'),
    ['10:41: mirrors[0].transport.path: $T and $T/mirror are nested, expected a directory apart from root and state'],
  ],
  [
    'two mirrors in one directory',
    'mirrors:\n',
    second('  - name: b\n    transport: { type: directory, path: /mnt/disk/b }\n'),
    [
      '12:41: mirrors[1].transport.path: /mnt/disk/b and the directory of mirrors[0] are nested, expected a directory of its own',
    ],
  ],
  [
    'a root that is not there',
    '$T/mirror',
    '$T/nowhere',
    ['1:7: root: $T/nowhere cannot be used (ENOENT: no such file or directory), expected a directory'],
  ],
  [
    'a root that is a file',
    '$T/mirror',
    '$T/identity',
    [
      '1:7: root: $T/identity is no directory, expected one',
      '5:11: inboxes[0].path: $T/identity/inbox/one cannot be used (ENOTDIR: not a directory), expected a directory',
    ],
  ],
  [
    'keys that are not there',
    '$T/keys',
    '$T/nokeys',
    [
      '7:11: inboxes[0].keys: $T/nokeys cannot be read (ENOENT: no such file or directory), expected a directory with one or more public keys named *.pub that this user can read',
    ],
  ],
  [
    'a directory without a key',
    '$T/keys',
    '$T/mirror',
    [
      '7:11: inboxes[0].keys: $T/mirror holds no key, expected a directory with one or more public keys named *.pub that this user can read',
    ],
  ],
  [
    'an identity that is not there',
    '$T/identity',
    '$T/noidentity',
    [
      '15:17: mirrors[0].transport.identity: $T/noidentity cannot be read (ENOENT: no such file or directory), expected the file of a private key that this user can read',
    ],
  ],
  [
    'an identity that is a directory',
    '$T/identity',
    '$T/keys',
    [
      '15:17: mirrors[0].transport.identity: $T/keys is no file, expected the file of a private key that this user can read',
    ],
  ],
  [
    'a credential without systemd',
    '$T/identity',
    'credential:push-key',
    [
      '15:17: mirrors[0].transport.identity: credential:push-key, but $CREDENTIALS_DIRECTORY is not set, expected a service with LoadCredential=push-key:FILE in the unit',
    ],
  ],
  [
    'a key given twice',
    '    path: inbox/one\n',
    '    path: inbox/one\n    path: inbox/one\n',
    ['6:5: inboxes[0].path: given twice, expected once'],
  ],
  [
    'a key that is no text',
    'mirrors:',
    '? [1]\n: 2\nmirrors:',
    ['8:3: (top): a key that is no text, expected plain words as keys'],
  ],
  [
    'a tab as indentation',
    '    path: inbox',
    '\tpath: inbox',
    [
      '5:1: (syntax): Tabs are not allowed as indentation, expected YAML 1.2',
      '5:8: (syntax): Nested mappings are not allowed in compact mappings, expected YAML 1.2',
      '7:1: (syntax): All mapping items must start at the same column, expected YAML 1.2',
    ],
  ],
  ['a second document', 'mirrors:', '---\nmirrors:', ['8:1: (syntax): a second document begins, expected one']],
  ['an unknown tag', 'state: ', 'state: !secret ', ['2:8: (syntax): Unresolved tag: !secret, expected YAML 1.2']],
  [
    'an alias of nothing',
    '$T/state',
    '*nothing',
    ['2:8: (syntax): *nothing names no anchor, expected &nothing above it'],
  ],
  [
    'a bomb of aliases',
    'mirrors:',
    'a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c]\nmirrors:',
    ['9:8: (syntax): aliases that multiply, expected few enough to write out'],
  ],
  [
    'no document',
    /[^]*/,
    '# nothing\n',
    [
      '1:1: (top): empty, expected a configuration with the keys root, state, socket, listen, listen_public, workers, inboxes, publish, guards, reserve, quarantine, mirrors, limits, switch, announce, hooks, schedule, scrub, log',
    ],
  ],
  [
    'a list as the document',
    /[^]*/,
    '- a\n',
    [
      '1:1: (top): a list, expected a configuration with the keys root, state, socket, listen, listen_public, workers, inboxes, publish, guards, reserve, quarantine, mirrors, limits, switch, announce, hooks, schedule, scrub, log',
    ],
  ],
];

for (const [title, from, to, says] of bad) {
  test(`refused with its place: ${title}`, async (t) => {
    assert.ok(
      typeof from === 'string' ? good.includes(from) : from.test(good),
      'the good configuration holds what is replaced',
    );
    assert.deepEqual(await world(t).problems(good.replace(from, () => to)), says);
  });
}
