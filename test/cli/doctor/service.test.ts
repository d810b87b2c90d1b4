import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import test from 'node:test';
import { findingLine } from '../../../src/cli/doctor/finding.ts';
import { judgeService, type ServiceFacts } from '../../../src/cli/doctor/service.ts';
import { judgeTrustedKeys } from '../../../src/cli/doctor/trusted-keys.ts';

const shipped = readFileSync(resolve(import.meta.dirname, '../../../systemd/lockstepd.service'), 'utf8');
const unit = { path: '/usr/lib/systemd/system/lockstepd.service', text: shipped };
const systemd = { unit, dropIns: [], shipped, enabled: true };
const facts: ServiceFacts = {
  socket: { path: '/s', state: 'answers', generation: 12 },
  port: { host: '127.0.0.1', port: 9617, state: 'metrics' },
  systemd,
  writes: ['/srv/mirror', '/var/lib/lockstepd'],
  credentials: [],
};
const judge = (change: Partial<ServiceFacts>): string[] => judgeService({ ...facts, ...change }).map(findingLine);
const problems = (change: Partial<ServiceFacts>): string[] => judge(change).filter((line) => !line.startsWith('ok'));
const socket = (state: ServiceFacts['socket']['state']): ServiceFacts['socket'] => ({
  path: '/s',
  state,
  generation: null,
});
const port = (state: ServiceFacts['port']['state']): ServiceFacts['port'] => ({ ...facts.port, state });

test('service: a daemon that runs by the shipped unit', () => {
  assert.deepEqual(judge({}), [
    'ok    socket /s: the daemon serves generation 12',
    'ok    listen 127.0.0.1:9617: a lockstepd listens',
    'ok    systemd unit: /usr/lib/systemd/system/lockstepd.service',
  ]);
});

test('service: no daemon and no systemd is no failure', () => {
  assert.deepEqual(judge({ socket: socket('absent'), port: port('free'), systemd: null }), [
    'warn  socket /s: no daemon runs: systemctl start lockstepd; why one has ended is in journalctl -u lockstepd',
    'ok    listen 127.0.0.1:9617: free',
    'ok    systemd unit: no systemd runs here',
  ]);
  for (const state of ['silent', 'unseen'] as const)
    assert.match(problems({ socket: socket(state), port: port('free') }).join('\n'), /^warn  socket \/s: .*$/);
});

const changedUnit = { ...unit, text: shipped.replace('TasksMax=512', 'TasksMax=64') };
const dropIn = (text: string) => [{ path: '/etc/systemd/system/lockstepd.service.d/a.conf', text }];
const other = 'find it with ss -ltnp, or choose another port (listen:)';
const table: readonly (readonly [string, Partial<ServiceFacts>, readonly string[]])[] = [
  [
    'a user who may not ask',
    { socket: socket('unseen') },
    ['warn  socket /s: this user may not ask the daemon: run lockstepd doctor as root or as a member of its group'],
  ],
  [
    'another file in the place of the socket',
    { socket: socket('other'), port: port('free') },
    ['fail  socket /s: something else than a daemon is there: move it away, or choose another socket'],
  ],
  [
    'a port that another lockstepd has',
    { socket: socket('absent') },
    [
      'warn  socket /s: no daemon runs: systemctl start lockstepd; why one has ended is in journalctl -u lockstepd',
      `fail  listen 127.0.0.1:9617: another lockstepd listens there: ${other}`,
    ],
  ],
  [
    'a port that another program has',
    { port: port('taken') },
    [`fail  listen 127.0.0.1:9617: another program listens there: ${other}`],
  ],
  [
    'an address of another host',
    { port: port('no-address') },
    ['fail  listen 127.0.0.1:9617: no interface of this host has that address: mend listen: in the configuration'],
  ],
  [
    'a daemon that listens elsewhere',
    { port: port('free') },
    [
      'warn  listen 127.0.0.1:9617: the daemon runs and nothing listens there: was listen: changed? A restart takes it over',
    ],
  ],
  [
    'a port that cannot be tried',
    { port: port('unknown') },
    ['warn  listen 127.0.0.1:9617: cannot be tried: see the log at the next start'],
  ],
  [
    'no unit',
    { systemd: { ...systemd, unit: null } },
    [
      'warn  systemd unit: lockstepd.service is not installed: install systemd/lockstepd.service, systemctl daemon-reload',
    ],
  ],
  [
    'a unit of another version',
    { systemd: { ...systemd, unit: changedUnit } },
    [
      'warn  systemd unit: /usr/lib/systemd/system/lockstepd.service is not the one of this version: install systemd/lockstepd.service anew; put changes of your own into a drop-in (systemctl edit lockstepd)',
    ],
  ],
  [
    'a unit that is not enabled',
    { systemd: { ...systemd, enabled: false } },
    ['warn  systemd unit: does not start with the system: systemctl enable lockstepd'],
  ],
  [
    'a sandbox without the disk of a mirror',
    { writes: ['/srv/mirror', '/mnt/usb'] },
    [
      'fail  systemd sandbox: does not let the daemon write below /mnt/usb: systemctl edit lockstepd: ReadWritePaths=/mnt/usb below [Service]',
    ],
  ],
  [
    'a sandbox with it, in a drop-in',
    {
      writes: ['/srv/mirror', '/mnt/usb/a'],
      systemd: { ...systemd, dropIns: dropIn('[Service]\nReadWritePaths=-/mnt/usb\n') },
    },
    [],
  ],
  [
    'a drop-in that forgets the paths before it',
    { systemd: { ...systemd, dropIns: dropIn('[Service]\nReadWritePaths=\n') } },
    [
      'fail  systemd sandbox: does not let the daemon write below /srv/mirror: systemctl edit lockstepd: ReadWritePaths=/srv/mirror below [Service]',
    ],
  ],
  [
    'a credential that nobody hands over',
    { credentials: ['push-key'] },
    [
      'fail  systemd unit: hands over no credential push-key: systemctl edit lockstepd: LoadCredential=push-key:FILE below [Service]',
    ],
  ],
  [
    'a credential of a drop-in',
    {
      credentials: ['push-key'],
      systemd: { ...systemd, dropIns: dropIn('[Service]\nLoadCredential=push-key:/etc/k\n') },
    },
    [],
  ],
];

for (const [name, change, expected] of table)
  test(`service: ${name}`, () => assert.deepEqual(problems(change), expected));

test('service: comments and blank lines of the unit may differ', () => {
  const text = `# ours\n\n${shipped.replaceAll(/^#.*\n/gm, '')}`;
  assert.deepEqual(problems({ systemd: { ...systemd, unit: { ...unit, text } } }), []);
});

const now = Date.parse('2026-11-23T00:00:00Z');
const day = 86_400_000;
const keysOf = (...ends: (number | undefined)[]) =>
  ends.map((end, n) => ({
    name: `k${n}.rsa.pub`,
    path: `/k/k${n}.rsa.pub`,
    ...(end === undefined ? {} : { notAfterMs: now + end * day }),
  }));
const keyLines = (...args: Parameters<typeof judgeTrustedKeys>): string[] => judgeTrustedKeys(...args).map(findingLine);

test('signing keys: those that end soon, have ended or cannot be used are told', () => {
  assert.deepEqual(keyLines({ builder: 'b', keys: keysOf(undefined, 31), faults: [] }, now), [
    'ok    signing keys of b: 2 valid for 30 days and more',
  ]);
  assert.deepEqual(keyLines({ builder: 'b', keys: keysOf(undefined, 29.5, -1), faults: [] }, now), [
    'ok    signing keys of b: 1 valid for 30 days and more',
    'warn  signing keys of b: k1.rsa.pub expires on 2026-12-22, 29 days from now: add the next key now, so that both are trusted for a while, and tell the builder',
    'warn  signing keys of b: k2.rsa.pub has expired: signatures by it are refused: sign with another key, or change its .validity file',
  ]);
  assert.deepEqual(keyLines({ builder: 'b', keys: keysOf(-1), faults: [] }, now), [
    'fail  signing keys of b: k0.rsa.pub has expired: signatures by it are refused: sign with another key, or change its .validity file',
  ]);
  const early = [{ name: 'n', path: '/k/n', notBeforeMs: now + day }];
  assert.match(keyLines({ builder: 'b', keys: early, faults: [] }, now).join(), /^fail {2}.* n is not valid yet: /);
  const faults = [{ path: '/k/bad.pub', message: 'no usable public key: put a PEM public key there' }];
  assert.deepEqual(keyLines({ builder: 'b', keys: keysOf(undefined), faults }, now), [
    'ok    signing keys of b: 1 valid for 30 days and more',
    'fail  signing keys of b: /k/bad.pub: no usable public key: put a PEM public key there',
  ]);
});
