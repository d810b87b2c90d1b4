/** The whole life of packages and batches as `lockstepd explain` tells it, and the same in `/history.json`: with the real daemon. */
import assert from 'node:assert/strict';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import type { Io } from '../../src/cli/command.ts';
import { command } from '../../src/cli/explain.ts';
import { createSigningKey } from '../../src/apk/make.ts';
import { SampleRepository } from '../../src/cli/sample-builder.ts';
import type { Explanation, Story } from '../../src/observe/explain.ts';
import type { RecentHistory } from '../../src/observe/propagation.ts';
import { askDaemon } from '../../src/system/control.ts';
import { serveFiles } from '../support/file-server.ts';
import { Primary } from '../support/primary.ts';

async function run(primary: Primary, ...args: string[]): Promise<string> {
  let out = '';
  const io: Io = {
    out: (text) => void (out += text),
    err: () => {},
    terminal: false,
    env: {},
    signal: new AbortController().signal,
  };
  assert.equal(await command.run([...args, '--config', primary.configFile], io), 0);
  return out;
}

async function explain(primary: Primary, what: string, ...args: string[]): Promise<readonly Story[]> {
  return (JSON.parse(await run(primary, what, '--json', ...args)) as Explanation).stories;
}

async function story<K extends Story['kind']>(
  primary: Primary,
  kind: K,
  what: string,
): Promise<Story & { readonly kind: K }> {
  const [first] = await explain(primary, what);
  assert.equal(first?.kind, kind);
  return first as Story & { readonly kind: K };
}

test('explain tells who uploaded a package, what verified it, where it is since when and why not elsewhere', {
  timeout: 600_000,
}, async () => {
  await using primary = await Primary.create();
  const at = (name: string): string => join(primary.directory, 'mirrors', name);
  for (const name of ['paris', 'edgy']) await mkdir(at(name), { recursive: true });
  await using web = await serveFiles(at('paris'));
  const entry = (name: string, more = ''): string =>
    `  - name: ${name}\n    transport: { type: directory, path: ${at(name)} }\n${more}`;
  await primary.configure({
    repositories: ['main/{arch}', 'edge/{arch}'],
    mirrors: [
      entry('paris', `    url: ${web.url}\n`),
      entry('edgy', '    include: ["edge/{arch}"]\n'),
      entry('gone'),
    ].join(''),
    more: 'schedule: { rescan: 1s, probe: 1s }',
    inbox: '    settle: 300ms',
  });
  await primary.start();
  const main = primary.repository('main/x86_64');
  const [old] = [main.set({ name: 'hello', version: '1.0-r0', contentBytes: 500, seed: 1 })];
  main.set({ name: 'other', version: '1.0-r0', contentBytes: 500, seed: 2 });
  await main.write(primary.inbox);
  await primary.untilGeneration(1);
  main.set({ name: 'hello', version: '1.1-r0', contentBytes: 500, seed: 3 });
  await main.write(primary.inbox);
  await primary.untilGeneration(2);
  await primary.untilInSync('paris', 2);
  await primary.untilInSync('edgy', 2);
  await primary.until('users to get it', async () => {
    const found = (await primary.status()).mirrors.find((m) => m.name === 'paris');
    return found?.observed_generation === 2;
  });
  // It is tried again and again, and tells why not between the tries.
  const whyGone = /^(waits \([a-z-]+\), next try 2\S+Z|blocked|never reached yet): [a-z_]+: /;
  await primary.until('the third one to be told about', async () => {
    const { mirrors } = await story(primary, 'package', 'main/x86_64/hello-1.1-r0.apk');
    return whyGone.test(mirrors.find((m) => m.name === 'gone')?.why ?? '');
  });

  // Served, on one mirror; another one takes something else, a third one is not there.
  const served = await story(primary, 'package', 'main/x86_64/hello-1.1-r0.apk');
  assert.deepEqual(
    [served.state, served.builder, served.published.generation, served.left, served.package?.version],
    ['served', 'bpo', 2, null, '1.1-r0'],
  );
  assert.deepEqual(
    [served.verified.index, served.verified.index_key, served.verified.package_key],
    ['APKINDEX.tar.gz', 'test-1.rsa.pub', 'test-1.rsa.pub'],
  );
  assert.match(served.verified.index_key_sha256 ?? '', /^[0-9a-f]{64}$/);
  assert.ok(served.uploaded_at !== null && served.published.at !== null && served.uploaded_at <= served.published.at);
  const on = (name: string): (typeof served.mirrors)[number] | undefined => served.mirrors.find((m) => m.name === name);
  const [paris, edgy, gone] = [on('paris'), on('edgy'), on('gone')];
  assert.deepEqual([paris?.state, edgy?.state, gone?.state], ['there', 'not taken', 'not yet']);
  assert.ok((paris?.confirmed_at ?? '') >= served.published.at && (paris?.observed_at ?? '') >= served.published.at);
  assert.deepEqual([paris?.why, edgy?.why, gone?.confirmed_at], [null, null, null]);

  // The version before: kept for clients; one package by its name is both, newest first.
  const before = await story(primary, 'package', old.file);
  assert.deepEqual([before.state, before.left?.generation, before.mirrors[0]?.state], ['kept', 2, 'left']);
  assert.ok((before.left?.kept_until ?? '') > (before.left?.at ?? '~'));
  const both = await explain(primary, 'hello');
  assert.deepEqual(
    both.map((one) => one.kind === 'package' && one.package?.version),
    ['1.1-r0', '1.0-r0'],
  );
  assert.match(await run(primary, 'hello', '--limit', '1'), /\n… and 1 older: /);

  // Its batch, and the page's record of the same.
  const batch = await story(primary, 'batch', served.batch ?? '');
  assert.deepEqual(
    [batch.state, batch.builder, batch.published?.generation, batch.changed_names, batch.changes],
    ['published', 'bpo', 2, 1, [{ kind: 'upgraded', name: 'hello', from: '1.0-r0', to: '1.1-r0' }]],
  );
  const { version, lag, propagation } = (await askDaemon(primary.socket, '/history.json')).body as RecentHistory;
  assert.deepEqual([version, lag.map((one) => one.mirror)], [1, ['paris', 'edgy', 'gone']]);
  assert.deepEqual(
    propagation.map((one) => [one.generation, one.batch, one.mirrors.find((m) => m.name === 'paris')?.confirmed_at]),
    [
      [2, batch.id, paris?.confirmed_at],
      [1, before.batch, before.mirrors[0]?.confirmed_at],
    ],
  );

  // The index itself.
  const index = await story(primary, 'index', 'main/x86_64/APKINDEX.tar.gz');
  assert.deepEqual([index.state, index.published.generation], ['served', 2]);

  // Held, for a file that does not come.
  main.set({ name: 'late', version: '1.0-r0', contentBytes: 500, seed: 4 });
  const newIndex = join(primary.inbox, 'main/x86_64/.APKINDEX.tar.gz.new');
  await writeFile(newIndex, main.index());
  await rename(newIndex, join(primary.inbox, 'main/x86_64/APKINDEX.tar.gz'));
  const held = await primary.untilBatch('held');
  const late = await story(primary, 'upload', 'late');
  assert.deepEqual([late.path, late.state, late.batch], ['main/x86_64/late-1.0-r0.apk', 'held', held.id]);
  assert.equal(late.reasons[0]?.code, 'INCOMPLETE');
  assert.match(await run(primary, 'late-1.0-r0'), new RegExp(`lockstepd preview ${held.id}`));
  assert.equal((await story(primary, 'batch', held.id)).published, null);

  // Rejected, and kept in quarantine.
  const stranger = new SampleRepository('edge/x86_64', createSigningKey('stranger.rsa.pub'));
  stranger.set({ name: 'evil', version: '6-r0', contentBytes: 500, seed: 5 });
  await stranger.write(primary.inbox);
  const rejected = await primary.untilBatch('rejected');
  // Its files are put away once it is rejected.
  await primary.until('the quarantine', async () => (await story(primary, 'batch', rejected.id)).quarantine !== null);
  const refused = await story(primary, 'batch', rejected.id);
  assert.equal(refused.reasons[0]?.code, 'SIG_UNTRUSTED');
  assert.equal(refused.quarantine?.path, join(primary.root, 'quarantine', rejected.id));
  assert.ok(refused.quarantine.until > (refused.updated_at ?? '~'));

  // Published again by a rollback.
  const back = { to: 1, repository: null, who: 'alice', why: 'too new', dry_run: false };
  assert.equal((await primary.control('rollback', back)).status, 200);
  const returned = await story(primary, 'package', old.file);
  assert.deepEqual(
    [returned.state, returned.published.generation, returned.rollback],
    ['served', 3, { to: 1, who: 'alice', why: 'too new' }],
  );
  const [, earlier] = await explain(primary, old.file);
  assert.equal(earlier?.kind === 'package' && earlier.left?.again, 3);
  assert.deepEqual((await story(primary, 'batch', returned.batch ?? '')).rollback, returned.rollback);

  // Recalled.
  const recall = { package: 'other', all: false, who: 'alice', why: 'a secret in it', dry_run: false };
  assert.equal((await primary.control('recall', recall)).status, 200);
  const taken = await story(primary, 'package', 'other');
  assert.deepEqual([taken.state, taken.recall?.who, taken.recall?.why], ['recalled', 'alice', 'a secret in it']);
  await primary.until('paris to be without it', async () => {
    const { mirrors } = await story(primary, 'package', 'other');
    return mirrors.find((m) => m.name === 'paris')?.state === 'left';
  });

  // All of it is known after a restart.
  const lagOfParis = async (): Promise<(number | null)[]> => {
    const { lag: series } = (await askDaemon(primary.socket, '/history.json')).body as RecentHistory;
    return (series.find((one) => one.mirror === 'paris')?.day ?? []).filter((one) => one !== null);
  };
  await primary.until('the lag to be noted', async () => (await lagOfParis()).length > 0);
  await primary.stop();
  await primary.start();
  const again = await story(primary, 'package', 'main/x86_64/hello-1.1-r0.apk');
  const still = again.mirrors.find((m) => m.name === 'paris');
  assert.deepEqual([again.left?.generation, still?.confirmed_at], [3, paris?.confirmed_at]);
  const known = (await askDaemon(primary.socket, '/history.json')).body as RecentHistory;
  assert.deepEqual(
    known.propagation.map((one) => [one.generation, one.rollback?.to]),
    [
      [3, 1],
      [2, undefined],
      [1, undefined],
    ],
  );
  assert.deepEqual(known.propagation[2], propagation[1]);
  assert.ok((await lagOfParis()).length > 0, 'lag was kept over the restart');

  // Nothing: what else there is.
  await assert.rejects(run(primary, 'hell'), /nothing is known of hell: expected .*; there is hello;/);
  await assert.rejects(run(primary, 'main/x86_64/nothing'), /nothing is known of main\/x86_64\/nothing/);
});
