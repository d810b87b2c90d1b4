import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import test from 'node:test';
import { askDaemon } from '../../src/system/control.ts';
import { exec } from '../../src/system/exec.ts';
import { Primary, type PrimaryOptions } from '../support/primary.ts';

const mirror = (primary: Primary, name: string, more = ''): string =>
  `  - { name: ${name}, transport: { type: directory, path: ${join(primary.directory, 'mirrors', name)} }${more} }\n`;

async function metric(primary: Primary, series: string): Promise<number> {
  const { body } = await askDaemon(primary.socket, '/metrics');
  const line = (body as { message: string }).message.split('\n').find((text) => text.startsWith(`${series} `));
  return Number(line?.slice(series.length + 1));
}

const events = (primary: Primary, event: string): Record<string, unknown>[] =>
  primary.log
    .split('\n')
    .filter((line) => line.includes(`"event":"${event}"`))
    .map((line) => JSON.parse(line) as Record<string, unknown>);

async function create(mirrors: readonly string[]): Promise<Primary> {
  const primary = await Primary.create();
  for (const name of mirrors) await mkdir(join(primary.directory, 'mirrors', name), { recursive: true });
  return primary;
}

test('a push in hand survives a reload that changes everything around it, and each change is applied', {
  timeout: 600_000,
}, async () => {
  await using primary = await create(['slow', 'changed', 'gone', 'new']);
  // Ten seconds: what a slow machine needs for the reload must fit in.
  const slow = mirror(primary, 'slow', ', bandwidth: 64KiB');
  const first = { inbox: '    settle: 200ms' };
  await primary.configure({
    ...first,
    mirrors: slow + mirror(primary, 'changed') + mirror(primary, 'gone'),
    more: 'schedule: { rescan: 5s, probe: 1d }',
  });
  await primary.start();
  const repository = primary.repository('main/x86_64');
  repository.set({ name: 'a', version: '1-r0', contentBytes: 600_000, seed: 1 });
  await repository.write(primary.inbox);
  await primary.untilInSync('changed', 1);
  await primary.untilInSync('gone', 1);
  const stateOf = async (name: string) => (await primary.status()).mirrors.find((m) => m.name === name);
  await primary.until('the slow push to run', async () => (await stateOf('slow'))?.state === 'pushing');

  const at = (hours: number): string => new Date(Date.now() + hours * 3_600_000).toISOString().slice(11, 16);
  const marker = join(primary.directory, 'told');
  await primary.configure({
    inbox: '    settle: 100ms\n    approval: required',
    mirrors: slow + mirror(primary, 'changed', `, quiet: ["${at(-2)}-${at(2)}"]`) + mirror(primary, 'new'),
    more: [
      'schedule: { rescan: 5s, probe: 2h, scrub: "0 4 1 1 *" }',
      'quarantine: { keep: 1d }',
      'limits: { connections: 3, bandwidth: 1GiB }',
      'log: { level: debug }',
      'publish: { grace: 1h }',
      `hooks: [{ name: mark, on: [held], command: [/usr/bin/touch, ${marker}] }]`,
      'announce: [{ name: broker, url: "mqtt://127.0.0.1:9" }]',
    ].join('\n'),
  });
  const text = (await readFile(primary.configFile, 'utf8')).replace('listen: 127.0.0.1:0', 'listen: 127.0.0.1:9');
  await writeFile(primary.configFile, text);
  const answer = await primary.control('reload', {});
  assert.equal((await stateOf('slow'))?.state, 'pushing', 'the push goes on');
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  const changed = [
    'listen',
    'inboxes.bpo.settle',
    'inboxes.bpo.approval',
    'mirrors.changed.quiet',
    'mirrors.new',
    'mirrors.gone',
    'schedule.probe',
    'schedule.scrub',
    'quarantine',
    'limits',
    'log',
    'publish',
    'hooks',
    'announce',
  ];
  assert.deepEqual(answer.body, {
    message: `reloaded: changed ${changed.join(', ')}; only a restart changes listen, publish.grace`,
  });
  await primary.until('the log to say so', () => events(primary, 'reloaded').length === 1);
  assert.deepEqual(events(primary, 'reloaded')[0]?.changed, changed);
  assert.deepEqual(
    events(primary, 'reload_needs_restart').map(({ key }) => key),
    ['listen', 'publish.grace'],
  );
  const status = await primary.status();
  assert.deepEqual(
    [status.mirrors.map(({ name }) => name).sort(), status.announcements.map(({ name }) => name)],
    [['changed', 'new', 'slow'], ['broker']],
  );
  assert.deepEqual(
    [status.config?.reload_failed_at, status.config?.problems, status.config?.needs_restart],
    [null, [], ['listen', 'publish.grace']],
  );
  await primary.untilInSync('new', 1);
  await primary.untilInSync('slow', 1);
  assert.equal(await metric(primary, 'lockstep_push_attempts_total{mirror="slow",outcome="aborted"}'), 0);
  assert.equal(await metric(primary, 'lockstep_push_attempts_total{mirror="slow",outcome="ok"}'), 1);
  assert.ok(Number.isNaN(await metric(primary, 'lockstep_push_attempts_total{mirror="gone",outcome="ok"}')));

  // The inbox has the new rule, the changed mirror its window, the hook its event, the log its level.
  repository.set({ name: 'a', version: '2-r0', contentBytes: 1000, seed: 2 });
  await repository.write(primary.inbox);
  await primary.untilBatch('held');
  await primary.until('the hook', () => events(primary, 'hook_ended').length === 1);
  await readFile(marker);
  await primary.until('the log to tell more', () => events(primary, 'inbox_looked').length > 0);
  const [batch] = (await primary.status()).batches.filter(({ state }) => state === 'held');
  await primary.control('approve', { batch: batch?.id, who: 'ops', why: '' });
  await primary.untilInSync('new', 2);
  await primary.until('the window to count', async () => (await stateOf('changed'))?.waits_for === 'quiet');
  assert.equal(await primary.stop(), 0);
});

test('a bad file or an unusable key keeps the old configuration, and log, metric, status and page say so', {
  timeout: 600_000,
}, async () => {
  await using primary = await create(['one']);
  const good: PrimaryOptions = { mirrors: mirror(primary, 'one') };
  await primary.configure(good);
  const startedAt = Date.now() / 1000;
  await primary.start();
  const loadedAt = (await primary.status()).config?.loaded_at;
  const succeededAt = await metric(primary, 'lockstep_config_last_reload_success_timestamp_seconds');
  assert.ok(succeededAt >= Math.floor(startedAt) && succeededAt <= Date.now() / 1000, String(succeededAt));
  const key = join(primary.directory, 'keys/second.rsa.pub');
  const bad: readonly (readonly [string, () => Promise<void>, RegExp])[] = [
    [
      'a wrong key of the file',
      () => primary.configure({ mirrors: mirror(primary, 'one', ', quite: []') }),
      /:11:\d+: mirrors\[0\]\.quite: unknown key, did you mean quiet\?$/,
    ],
    ['no YAML at all', () => writeFile(primary.configFile, 'a: [b'), /lockstepd\.yaml:\d+:\d+: /],
    [
      'a file of a key that cannot be read',
      async () => {
        await primary.configure(good);
        await writeFile(key, 'garbage');
      },
      /inboxes\[0\]\.keys: .*second\.rsa\.pub: /,
    ],
    [
      'a private key that is not there',
      async () => {
        await rm(key);
        await primary.configure({
          mirrors: `  - { name: one, transport: { type: sftp, host: h, user: u, path: /p, identity: ${key}.none, host_key: "SHA256:${'A'.repeat(43)}" } }`,
        });
      },
      /transport\.identity: .*none cannot be read \(ENOENT/,
    ],
  ];
  for (const [what, make, expected] of bad) {
    await make();
    const before = events(primary, 'reload_failed').length;
    primary.signal('SIGHUP');
    await primary.until(`the log to say of ${what}`, () => events(primary, 'reload_failed').length > before);
    const { config, mirrors } = await primary.status();
    assert.match(config?.problems.join('\n') ?? '', expected, what);
    assert.deepEqual([config?.loaded_at, mirrors.map(({ name }) => name)], [loadedAt, ['one']]);
    assert.notEqual(config?.reload_failed_at, null);
    assert.equal(await metric(primary, 'lockstep_config_last_reload_successful'), 0);
    assert.equal(await metric(primary, 'lockstep_config_last_reload_success_timestamp_seconds'), succeededAt);
  }
  const page = await askDaemon(primary.socket, '/');
  assert.match((page.body as { message: string }).message, /the reload .* was refused; in use is the configuration/);
  const told = await exec([process.execPath, 'src/main.ts', 'reload', '--config', primary.configFile], {
    timeoutMs: 300_000,
  });
  assert.deepEqual([told.code, told.stdout], [78, '']);
  assert.match(told.stderr, /identity: .*cannot be read/);
  const shown = await exec([process.execPath, 'src/main.ts', 'status', '--config', primary.configFile], {
    timeoutMs: 300_000,
  });
  assert.match(shown.stdout, /was refused; in use is the configuration that was read .*\n {2}.*identity: /);

  await primary.configure(good);
  assert.deepEqual((await primary.control('reload', {})).body, { message: 'reloaded: nothing has changed' });
  const { config } = await primary.status();
  assert.deepEqual([config?.reload_failed_at, config?.problems], [null, []]);
  assert.equal(await metric(primary, 'lockstep_config_last_reload_successful'), 1);
});

test('a reload while the state cannot be written does what it can, and the rest when it can', {
  timeout: 600_000,
}, async (t) => {
  await using primary = await create(['old', 'new', 'later']);
  const state = join(primary.directory, 'state');
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', state]);
  if (mounted.status !== 0) return t.skip(`a small tmpfs cannot be mounted here: ${String(mounted.stderr).trim()}`);
  try {
    await primary.configure({ mirrors: mirror(primary, 'old') });
    await primary.start();
    const repository = primary.repository('main/x86_64');
    repository.set({ name: 'a', version: '1-r0', contentBytes: 1000, seed: 1 });
    await repository.write(primary.inbox);
    await primary.untilInSync('old', 1);
    spawnSync('dd', ['if=/dev/zero', `of=${join(state, 'ballast')}`, 'bs=4096'], { stdio: 'ignore' });
    await primary.configure({
      mirrors: mirror(primary, 'new') + mirror(primary, 'old') + mirror(primary, 'later'),
      more: 'hooks: [{ name: h, on: [held], command: [/bin/true] }]\nlimits: { connections: 2 }',
    });
    const { status, body } = await primary.control('reload', {});
    assert.equal(status, 200, JSON.stringify(body));
    assert.match(
      (body as { message: string }).message,
      /not done yet: mirrors: .*new: .*later: .*; not done yet: hooks/,
    );
    const names = async () => (await primary.status()).mirrors.map(({ name }) => name).sort();
    assert.deepEqual(await names(), ['old'], 'what ran before still does');
    assert.match((await primary.status()).config?.problems.join() ?? '', /^not done yet: mirrors/);

    await rm(join(state, 'ballast'));
    await primary.untilInSync('new', 1);
    await primary.untilInSync('later', 1);
    await primary.until('the hooks', async () => (await primary.status()).hooks.length === 1);
    const problems = async () => (await primary.status()).config?.problems.length;
    await primary.until('nothing to be left', async () => (await problems()) === 0);
    await primary.until('the log to tell of both', () => events(primary, 'reload_finished').length === 2);
    assert.deepEqual(
      events(primary, 'reload_finished').map(({ what }) => what),
      ['mirrors', 'hooks'],
    );
    assert.equal(await primary.stop(), 0);
  } finally {
    await primary.stop();
    spawnSync('umount', ['-l', state]);
  }
});

test('a mirror that is not looked at any more is not judged by what was seen once', async (t) => {
  await using primary = await create(['oslo']);
  const server = createServer((asked, answer) => {
    readFile(join(primary.directory, 'mirrors/oslo', asked.url ?? '')).then(
      (bytes) => answer.end(bytes),
      () => answer.writeHead(404).end(),
    );
  });
  t.after(() => server.close().closeAllConnections());
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const inbox = '    settle: 200ms';
  await primary.configure({ inbox, mirrors: mirror(primary, 'oslo', `, url: "${url}"`) });
  await primary.start();
  const repository = primary.repository('main/x86_64');
  const publish = async (generation: number): Promise<void> => {
    repository.set({ name: 'a', version: `${generation}-r0`, contentBytes: 100, seed: generation });
    await repository.write(primary.inbox);
    await primary.untilInSync('oslo', generation);
  };
  await publish(1);
  const oslo = async () => (await primary.status()).mirrors[0];
  await primary.until('the probe', async () => (await oslo())?.observed_generation === 1);
  assert.equal(await metric(primary, 'lockstep_probe_success{mirror="oslo"}'), 1);

  await primary.configure({ inbox, mirrors: mirror(primary, 'oslo') });
  assert.equal((await primary.control('reload', null)).status, 200);
  await publish(2);
  assert.deepEqual([(await oslo())?.observed_at, (await oslo())?.observed_lag_seconds], [null, null]);
  const { body } = await askDaemon(primary.socket, '/metrics');
  assert.doesNotMatch(
    (body as { message: string }).message,
    /probe_success\{|probe_duration_seconds\{|view="observed"|mirror_content_unknown\{/,
  );
});
