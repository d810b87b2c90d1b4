import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import test, { type TestContext } from 'node:test';
import { loadConfig } from '../../src/config/load.ts';
import { parseTemplate } from '../../src/config/template.ts';
import { ConfigError } from '../../src/errors.ts';
import { exec } from '../../src/system/exec.ts';
import { fingerprint, good, publicPem, world } from './world.ts';

const defaultGuards = {
  actions: {
    mass_removal: 'hold',
    empty_index: 'hold',
    older_index: 'hold',
    copied_index: 'hold',
    downgrade: 'hold',
    rebuilt: 'hold',
    vanished_repository: 'hold',
  },
  maxRemovedPercent: 30,
  maxRemoved: 500,
  mayVanish: [],
};

const templateOf = (text: string): unknown => {
  const parsed = parseTemplate(text);
  return 'value' in parsed ? parsed.value : parsed;
};

test('a small configuration gets the documented defaults', async (t) => {
  const { directory, load } = world(t);
  const { written, ...config } = await load(good);
  assert.deepEqual(Object.keys(written as object), ['root', 'state', 'inboxes', 'mirrors']);
  assert.deepEqual(config, {
    file: join(directory, 'lockstepd.yaml'),
    root: join(directory, 'mirror'),
    state: join(directory, 'state'),
    socket: join(directory, 'state/lockstepd.sock'),
    listen: { host: '127.0.0.1', port: 9617 },
    listenPublic: null,
    workers: 1,
    inboxes: [
      {
        builder: 'one',
        path: join(directory, 'mirror/inbox/one'),
        fedBy: 'builder',
        repositories: [{ text: 'main/{arch}', components: [{ kind: 'literal', value: 'main' }, { kind: 'arch' }] }],
        keys: [{ directory: join(directory, 'keys'), maySign: null }],
        settleMs: 5000,
        missingPackages: 'hold',
        packageSignatures: 'if-present',
        signatureAlgorithms: null,
        quotas: {
          maxFileBytes: 4 * 2 ** 30,
          maxBatchBytes: 64 * 2 ** 30,
          maxInboxBytes: 256 * 2 ** 30,
          maxPackages: 200_000,
          maxRepositories: 1000,
        },
        approval: 'if-held',
        guards: defaultGuards,
      },
    ],
    publish: {
      graceMs: 172_800_000,
      keepTreesForMs: 21_600_000,
      maxTrees: 4,
      keepForMirrorsMs: 1_209_600_000,
      keepIndexesBytes: 1_073_741_824,
      primary: null,
    },
    reserveBytes: 64 * 2 ** 20,
    quarantine: { keepMs: 30 * 86_400_000, maxBytes: 10 * 2 ** 30, maxBatches: 1000 },
    mirrors: [
      {
        name: 'paris',
        url: null,
        transport: {
          type: 'rsync',
          host: 'mirror.example.fr',
          port: 22,
          user: 'lockstep',
          path: '/',
          identity: join(directory, 'identity'),
          hostKeys: [fingerprint],
          stallMs: 60_000,
          deadlineMs: 600_000,
          fsync: 'always',
        },
        takeoverAfterMs: null,
        part: { include: [], exclude: [] },
        bytesPerSecond: null,
        quiet: [],
      },
    ],
    limits: { connections: 8, bytesPerSecond: null },
    switch: { mode: 'each', quorum: { percent: 80 }, deadlineMs: 600_000 },
    announce: [],
    hooks: [],
    schedule: { rescanMs: 60_000, probeMs: 60_000, scrub: null },
    scrub: { bytesPerSecond: 32 * 2 ** 20, sample: 50 },
    log: { level: 'info' },
  });
});

test('what is written counts, and sections may be left empty', async (t) => {
  const { load, directory } = world(t);
  const text = good.replace('inbox/one', '$T/mirror/inbox/one/').replace(
    /transport:[^]*/,
    `transport: { type: directory, path: /mnt/mirror/ }
    url: HTTP://Mirror.Example.fr/pmos
    include: ["main/{arch}"]
    exclude: [main/s390x]
    bandwidth: 2MiB
    quiet: ["22:30-06:00 Europe/Paris"]
`,
  );
  const more = `socket: $T/control.sock
listen: "[::1]:0"
listen_public: 127.0.0.1:9618
workers: 16
publish: { grace: 0, keep_trees_for: 90m, max_trees: 2, keep_for_mirrors: 0, keep_indexes: 5MiB, primary: one }
guards:
schedule: { scrub: "0 4 * * 0", rescan: 1s, probe: 5m }
scrub: { rate: 64KiB, mirror_sample: all }
log: { level: debug }
reserve: 1GiB
limits: { connections: 3, bandwidth: 20MiB }
quarantine: { keep: 7d, max_size: 1000000, max_batches: 3 }
`;
  const config = await load(text + more);
  assert.equal(config.inboxes[0]?.path, join(directory, 'mirror/inbox/one'));
  assert.equal(config.socket, join(directory, 'control.sock'));
  assert.deepEqual(config.listen, { host: '::1', port: 0 });
  assert.deepEqual(config.listenPublic, { host: '127.0.0.1', port: 9618 });
  assert.equal(config.workers, 16);
  assert.deepEqual(config.publish, {
    graceMs: 0,
    keepTreesForMs: 5_400_000,
    maxTrees: 2,
    keepForMirrorsMs: 0,
    keepIndexesBytes: 5 * 1024 * 1024,
    primary: 'one',
  });
  assert.equal(config.reserveBytes, 2 ** 30);
  assert.deepEqual(config.quarantine, { keepMs: 7 * 86_400_000, maxBytes: 1_000_000, maxBatches: 3 });
  assert.deepEqual(config.inboxes[0].guards, defaultGuards);
  assert.deepEqual(config.mirrors, [
    {
      name: 'paris',
      url: 'http://mirror.example.fr/pmos/',
      transport: { type: 'directory', path: '/mnt/mirror' },
      part: { include: [templateOf('main/{arch}')], exclude: [templateOf('main/s390x')] },
      bytesPerSecond: 2 * 2 ** 20,
      takeoverAfterMs: null,
      quiet: [{ from: 22 * 60 + 30, to: 6 * 60, zone: 'Europe/Paris' }],
    },
  ]);
  assert.deepEqual(config.limits, { connections: 3, bytesPerSecond: 20 * 2 ** 20 });
  assert.deepEqual(config.schedule, { rescanMs: 1000, probeMs: 300_000, scrub: '0 4 * * 0' });
  assert.deepEqual(config.scrub, { bytesPerSecond: 65_536, sample: null });
  assert.equal(config.log.level, 'debug');
});

test('the guards of an inbox stand before those of all', async (t) => {
  const { load } = world(t);
  const own = '    guards: { downgrade: allow, may_vanish: ["main/{arch}"] }\n    approval: required\n    keys:';
  const config = await load(
    `${good.replace('    keys:', own)}guards: { downgrade: reject, rebuilt: reject, max_removed: 7 }\n`,
  );
  const [inbox] = config.inboxes;
  assert.equal(inbox?.approval, 'required');
  assert.deepEqual(inbox.guards.actions, { ...defaultGuards.actions, downgrade: 'allow', rebuilt: 'reject' });
  assert.deepEqual([inbox.guards.maxRemoved, inbox.guards.maxRemovedPercent], [7, 30]);
  assert.deepEqual(
    inbox.guards.mayVanish.map((template) => template.text),
    ['main/{arch}'],
  );
});

/** A configuration with a mistake of every kind, mended by nothing but its own messages. */
const manyProblems = `root: $T/mirror
stat: $T/state
workers: 99
inboxes:
  - builder: one
    path: inbox/one
    path: inbox/one
    repositories: ["main/{arch}", "v25.12/{arch"]
    keys: $T/nokeys
  - builder: one
    path: inbox/one/two
    repositories: ["*/x86_64"]
    keys: 3
publish: { grace: 48, max_trees: 1 }
listen: 127.0.0.1
mirrors:
  - name: paris
    transport:
      type: rsync
      host: h.example
      user: u
      path: /
      identity: $T/open
      host_key: "SHA256:…"
  - name: disk
    transport:
      type: directory
      path: $T/mirror/trees
      port: 3
  - transport: { type: ftp }
  - name: paris
    transport: {}
  -
`;

test('every problem is said at once, in the order of the text', async (t) => {
  const { directory, problems } = world(t);
  writeFileSync(join(directory, 'open'), 'a key');
  chmodSync(join(directory, 'open'), 0o640);
  const found = await problems(manyProblems);
  assert.deepEqual(
    found.map((line) => line.replace(/^(\d+:\d+: \S+): .*/, '$1')),
    [
      '1:1: state',
      '2:1: stat',
      '3:10: workers',
      '7:5: inboxes[0].path',
      '8:35: inboxes[0].repositories[1]',
      '9:11: inboxes[0].keys',
      '10:14: inboxes[1].builder',
      '11:11: inboxes[1].path',
      '12:20: inboxes[1].repositories[0]',
      '13:11: inboxes[1].keys',
      '14:19: publish.grace',
      '14:34: publish.max_trees',
      '15:9: listen',
      '23:17: mirrors[0].transport.identity',
      '24:17: mirrors[0].transport.host_key',
      '28:13: mirrors[1].transport.path',
      '29:7: mirrors[1].transport.port',
      '30:5: mirrors[2].name',
      '30:24: mirrors[2].transport.type',
      '31:11: mirrors[3].name',
      '32:16: mirrors[3].transport.type',
      '33:4: mirrors[4]',
    ],
  );
  assert.deepEqual(
    found.filter((line) => /transport\.(identity|type)/.test(line)),
    [
      '23:17: mirrors[0].transport.identity: $T/open has mode 0640, expected a private key that others cannot read (chmod 600)',
      '30:24: mirrors[2].transport.type: "ftp", expected rsync, sftp, directory, rclone, trigger or pull',
      '32:16: mirrors[3].transport.type: missing, expected rsync, sftp, directory, rclone, trigger or pull',
    ],
  );
});

test('a mode that lets others read is refused for a key file, and accepted for a credential of systemd', async (t) => {
  const { directory, load, problems } = world(t);
  for (const mode of [0o640, 0o604, 0o610]) {
    chmodSync(join(directory, 'identity'), mode);
    assert.match((await problems(good)).join('\n'), /identity: \$T\/identity has mode 06[014][04], expected/);
  }
  const text = good.replace('$T/identity', 'credential:identity');
  const config = await load(text, { env: { CREDENTIALS_DIRECTORY: directory } });
  const transport = config.mirrors[0]?.transport;
  assert.ok(transport?.type === 'rsync');
  assert.equal(transport.identity, join(directory, 'identity'));
});

test('outside of the service a credential is taken on trust', async (t) => {
  const text = good.replace('$T/identity', 'credential:push-key');
  const config = await world(t).load(text, { outsideService: true });
  const transport = config.mirrors[0]?.transport;
  assert.ok(transport?.type === 'rsync');
  assert.equal(transport.identity, '/run/credentials/lockstepd.service/push-key');
});

test('a look without the disk needs none of the files', async (t) => {
  const text = good.replace('$T/identity', '/nonexistent/identity').replace('$T/keys', '/nonexistent/keys');
  const config = await world(t).load(text, { ignoreDisk: true });
  assert.deepEqual(config.inboxes[0]?.keys, [{ directory: '/nonexistent/keys', maySign: null }]);
});

test('a key or an identity that this user cannot read is refused', async (t) => {
  if (process.getuid?.() === 0) return asNobody(t);
  const { directory, problems } = world(t);
  chmodSync(join(directory, 'identity'), 0);
  chmodSync(join(directory, 'keys/one.rsa.pub'), 0);
  assert.deepEqual(await problems(good), unreadable);
});

const unreadable = [
  '7:11: inboxes[0].keys: $T/keys/one.rsa.pub cannot be read (EACCES: permission denied), expected a directory with one or more public keys named *.pub that this user can read',
  '15:17: mirrors[0].transport.identity: $T/identity cannot be read (EACCES: permission denied), expected the file of a private key that this user can read',
];

/** Root may read everything: does the same in a process without root's rights. */
async function asNobody(t: TestContext): Promise<void> {
  const { directory } = world(t);
  writeFileSync(join(directory, 'lockstepd.yaml'), good.replaceAll('$T', directory));
  chmodSync(join(directory, 'keys/one.rsa.pub'), 0);
  chmodSync(directory, 0o755);
  const load = resolve(import.meta.dirname, '../../src/config/load.ts');
  const program = `
    import { loadConfig } from ${JSON.stringify(load)};
    process.setgroups([]); process.setgid(65534); process.setuid(65534);
    await loadConfig(${JSON.stringify(join(directory, 'lockstepd.yaml'))}, { env: {} }).catch((e) => console.log(e.message));`;
  const result = await exec([process.execPath, '--input-type=module', '-e', program], { timeoutMs: 120_000 });
  const lines = result.stdout.trim().replaceAll(`${directory}/lockstepd.yaml:`, '').replaceAll(directory, '$T');
  assert.deepEqual(lines.split('\n'), unreadable, result.stderr);
}

test('a file that is no YAML text is refused as a whole', async (t) => {
  const { directory } = world(t);
  const says = async (content: string | Buffer | null, file = join(directory, 'other.yaml')): Promise<string> => {
    if (content !== null) writeFileSync(file, content);
    const error: unknown = await loadConfig(file, { env: {} }).catch((reason: unknown) => reason);
    assert.ok(error instanceof ConfigError, String(error));
    return error.message.replaceAll(directory, '$T');
  };
  const absent = join(directory, 'absent.yaml');
  assert.equal(
    await says(null, absent),
    "$T/absent.yaml:1:1: (file): cannot be read (ENOENT: no such file or directory, open '$T/absent.yaml'), expected a YAML file",
  );
  assert.equal(
    await says(null, directory),
    '$T:1:1: (file): cannot be read (EISDIR: illegal operation on a directory, read), expected a YAML file',
  );
  assert.equal(
    await says(Buffer.alloc(1024 * 1024 + 1, '#')),
    '$T/other.yaml:1:1: (file): has more than 1048576 bytes, expected a YAML file of at most 1 MiB',
  );
  assert.equal(
    await says(Buffer.from([0x61, 0x3a, 0x20, 0xff])),
    '$T/other.yaml:1:1: (file): is not UTF-8, expected a YAML file in UTF-8',
  );
  assert.match(await says('['.repeat(20_000)), /^\$T\/other\.yaml:1:\d+: \(syntax\): /);
});

/** Rewrites what an example points to, so that it is there. */
function onThisDisk(text: string, directory: string): string {
  mkdirSync(join(directory, 'etc/keys/bpo'), { recursive: true });
  for (const builder of ['build.example.org', 'upstream.example.org'])
    mkdirSync(join(directory, 'etc/keys', builder), { recursive: true });
  for (const builder of ['bpo', 'build.example.org', 'upstream.example.org'])
    writeFileSync(join(directory, `etc/keys/${builder}/k.rsa.pub`), publicPem);
  writeFileSync(join(directory, 'etc/push-key'), 'a key', { mode: 0o600 });
  return text
    .replaceAll('/etc/lockstepd', join(directory, 'etc'))
    .replaceAll('/srv/mirror', join(directory, 'mirror'))
    .replaceAll('/var/lib/lockstepd', join(directory, 'state'));
}

const exampleFile = resolve(import.meta.dirname, '../../config/lockstepd.example.yaml');

test('the example configuration loads', async (t) => {
  const { directory, load } = world(t);
  const config = await load(onThisDisk(readFileSync(exampleFile, 'utf8'), directory));
  assert.deepEqual(
    config.mirrors.map(({ name, transport }) => [name, transport.type]),
    [
      ['paris', 'rsync'],
      ['tokyo', 'sftp'],
      ['usb-disk', 'directory'],
      ['oslo', 'trigger'],
      ['quito', 'pull'],
    ],
  );
});

test('the example configuration of a leaf loads', async (t) => {
  const { directory, load } = world(t);
  const config = await load(onThisDisk(readFileSync(join(dirname(exampleFile), 'leaf.yaml'), 'utf8'), directory));
  assert.deepEqual(
    config.inboxes.map(({ builder, fedBy, settleMs }) => [builder, fedBy, settleMs]),
    [['upstream.example.org', 'upstream', 5000]],
  );
});

test('the example configuration shows every key, and the defaults as they are', async (t) => {
  const { directory, load } = world(t);
  const example = onThisDisk(readFileSync(exampleFile, 'utf8'), directory);
  const lines = example.split('\n').map((line) => line.replace(/^( *)# ([a-z_]+: [^ ].*)$/, '$1$2'));
  const spelledOut = lines
    .filter(
      (line) => !/^ *(socket|listen_public|scrub|primary|include|exclude|bandwidth|quiet|takeover_after): /.test(line),
    )
    .join('\n');
  assert.notEqual(spelledOut, example);
  const [out, short] = [await load(spelledOut), await load(example)];
  assert.deepEqual({ ...out, written: null }, { ...short, written: null });
  const keys = new Set(lines.flatMap((line) => /^ *(?:- )?([a-z_]+):/.exec(line)?.[1] ?? []));
  const known =
    'root state socket listen listen_public workers inboxes builder path fed_by repositories keys settle missing_packages package_signatures signature_algorithms approval publish grace keep_trees_for max_trees keep_for_mirrors keep_indexes primary guards max_removed_percent max_removed mass_removal empty_index older_index copied_index downgrade rebuilt vanished_repository may_vanish include exclude bandwidth quiet takeover_after switch mode quorum limits connections reserve quarantine keep max_size max_batches quotas max_file max_batch max_inbox max_packages max_repositories mirrors name url transport type host port user identity host_key timeout deadline fsync command min_interval schedule rescan probe scrub rate mirror_sample log level';
  assert.deepEqual([...keys].sort(), known.split(' ').sort());
});

test('the sketch of the design loads', async (t) => {
  const design = resolve(import.meta.dirname, '../../../shared/docs/design.md');
  if (!existsSync(design)) return t.skip('shared/docs/design.md absent');
  const { directory, load } = world(t);
  const sketch = /```yaml\n([^]*?)```/.exec(readFileSync(design, 'utf8'))?.[1] ?? '';
  const config = await load(onThisDisk(sketch.replace('SHA256:…', fingerprint), directory), {
    env: { CREDENTIALS_DIRECTORY: join(directory, 'etc') },
  });
  assert.equal(config.inboxes[0]?.repositories.length, 4);
  assert.deepEqual(
    config.mirrors.map(({ name }) => name),
    ['paris', 'usb-disk'],
  );
  assert.equal(config.schedule.scrub, '0 4 * * 0');
});
