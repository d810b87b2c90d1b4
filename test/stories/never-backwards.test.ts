import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import test, { type TestContext } from 'node:test';
import type { HistoryPage, HistoryView } from '../../src/observe/history.ts';
import type { BatchPreview } from '../../src/observe/preview.ts';
import type { Status } from '../../src/observe/status.ts';
import { Primary, type PrimaryOptions, snapshot } from '../support/primary.ts';

type Batch = Status['batches'][number];
const main = resolve(import.meta.dirname, '../../src/main.ts');
const settle = '    settle: 200ms';
const rescan = 'schedule: { rescan: 1s }';

class World {
  readonly primary: Primary;

  constructor(primary: Primary) {
    this.primary = primary;
  }

  get mirror(): string {
    return join(this.primary.directory, 'mirrors/usb');
  }

  async untilReason(state: string, code: string, path: string, other: string | null = null): Promise<Batch> {
    let found: Batch | undefined;
    await this.primary.until(`a batch that is ${state} for ${code} of ${path}`, async () => {
      found = (await this.primary.status()).batches.find(
        (b) => b.state === state && b.id !== other && b.reasons.some((r) => r.code === code && r.path === path),
      );
      return found !== undefined;
    });
    if (!found) throw new Error('unreachable');
    return found;
  }

  async untilPublished(id: string): Promise<Batch> {
    let found: Batch | undefined;
    await this.primary.until(`batch ${id} to be published`, async () => {
      found = (await this.primary.status()).batches.find((b) => b.id === id && b.state === 'published');
      return found !== undefined;
    });
    if (!found) throw new Error('unreachable');
    return found;
  }

  /** The command line, as an operator has it. */
  async cli(...args: string[]): Promise<{ code: number; out: string; err: string }> {
    const env = { ...process.env, SUDO_USER: 'alice' };
    const child = spawn(process.execPath, [main, ...args, '--config', this.primary.configFile], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env,
    });
    let [out, err] = ['', ''];
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
    const code = await new Promise<number>((done) => child.once('close', (c) => done(c ?? -1)));
    return { code, out, err };
  }

  async history(): Promise<readonly HistoryView[]> {
    const { code, out, err } = await this.cli('history', '--json', '--limit', '1000');
    assert.equal(code, 0, err);
    return (JSON.parse(out) as HistoryPage).entries;
  }

  async preview(batch: string): Promise<BatchPreview> {
    const { code, out, err } = await this.cli('preview', batch, '--json');
    assert.equal(code, 0, err);
    return JSON.parse(out) as BatchPreview;
  }

  async approve(batch: string, reason: string): Promise<void> {
    const { code, err } = await this.cli('approve', batch, '--reason', reason);
    assert.equal(code, 0, err);
  }
}

async function start(t: TestContext, options: PrimaryOptions = {}): Promise<World> {
  const primary = await Primary.create({ inbox: settle, more: rescan, ...options });
  t.after(() => primary[Symbol.asyncDispose]());
  const world = new World(primary);
  await mkdir(world.mirror, { recursive: true });
  await primary.start();
  return world;
}

const usb = (directory: string): string => `  - name: usb\n    transport: { type: directory, path: ${directory} }\n`;

test('fifty replays of the last fifty indexes are fifty times refused', { timeout: 600_000 }, async (t) => {
  const { primary, untilReason } = bound(await start(t, { inbox: '    settle: 50ms' }));
  const repository = primary.repository('main/x86_64');
  const index = join(primary.inbox, 'main/x86_64/APKINDEX.tar.gz');
  const indexes: Buffer[] = [];
  for (let n = 1; n <= 51; n++) {
    repository.set({ name: 'a', version: `1.${n}-r0`, contentBytes: 100, seed: n });
    await repository.write(primary.inbox);
    await primary.untilGeneration(n);
    indexes.push(await readFile(index));
  }
  const before = await snapshot(primary.public);
  const refused = new Set<string>();
  let last: string | null = null;
  for (const old of indexes.slice(0, 50).toReversed()) {
    await writeFile(`${index}.new`, old);
    await rename(`${index}.new`, index);
    const { id } = await untilReason('rejected', 'REPLAY', 'main/x86_64', last);
    await primary.until('a refusal of its own', async () => {
      const [newest] = (await primary.status()).batches.filter((b) => b.state === 'rejected');
      if (newest === undefined || refused.has(newest.id)) return false;
      refused.add(newest.id);
      return true;
    });
    last = id;
  }
  assert.equal(refused.size, 50);
  assert.equal((await primary.status()).generation, 51);
  assert.deepEqual(await snapshot(primary.public), before);
});

test('a downgrade is held, previewed, approved by name, published and in the history', {
  timeout: 600_000,
}, async (t) => {
  const world = await start(t);
  const { primary } = world;
  const repository = primary.repository('main/x86_64');
  repository.set({ name: 'firefox', version: '121.0-r1', contentBytes: 4000, seed: 1 });
  for (let n = 0; n < 30; n++) repository.set({ name: `lib${n}`, version: '1-r0', contentBytes: 100, seed: 10 + n });
  await repository.write(primary.inbox);
  await primary.untilGeneration(1);

  repository.set({ name: 'firefox', version: '120.0-r0', contentBytes: 4000, seed: 2 });
  repository.set({ name: 'mesa', version: '1-r0', contentBytes: 2000, seed: 3 });
  repository.set({ name: 'lib0', version: '2-r0', contentBytes: 100, seed: 4 });
  repository.set({ name: 'lib1', version: '1-r0', contentBytes: 100, seed: 5 });
  repository.remove('lib2');
  await repository.write(primary.inbox);
  const held = await world.untilReason('held', 'DOWNGRADE', 'main/x86_64');
  assert.deepEqual(
    held.reasons.map((r) => [r.code, r.detail]),
    [
      ['DOWNGRADE', 'downgrades 1 package: firefox 121.0-r1 to 120.0-r0'],
      ['REBUILT', 'has other bytes under the same version for 1 package: lib1 1-r0'],
    ],
  );
  assert.equal((await primary.status()).generation, 1);

  const preview = await world.preview(held.id);
  const [shown] = preview.indexes;
  assert.ok(shown && preview.indexes.length === 1 && preview.next === null);
  const { added, upgraded, downgraded, rebuilt, removed } = shown.changes;
  assert.deepEqual(added, { count: 1, packages: [{ name: 'mesa', from: null, to: '1-r0' }] });
  assert.deepEqual(upgraded, { count: 1, packages: [{ name: 'lib0', from: '1-r0', to: '2-r0' }] });
  assert.deepEqual(downgraded, { count: 1, packages: [{ name: 'firefox', from: '121.0-r1', to: '120.0-r0' }] });
  assert.deepEqual(rebuilt, { count: 1, packages: [{ name: 'lib1', from: '1-r0', to: '1-r0' }] });
  assert.deepEqual(removed, { count: 1, packages: [{ name: 'lib2', from: '1-r0', to: null }] });
  assert.equal(shown.outcome, 'guarded');
  assert.equal(shown.index?.signed_by, primary.key.name);
  assert.equal(shown.served?.generation, 1);
  assert.ok(shown.bytes_to_copy > 6000);
  const screen = await world.cli('preview', held.id);
  assert.equal(screen.code, 0, screen.err);
  assert.match(screen.out, /^ {2}downgraded {2}firefox 121\.0-r1 -> 120\.0-r0$/m);
  assert.match(
    screen.out,
    /^main\/x86_64\/APKINDEX\.tar\.gz: 1 added, 1 upgraded, 1 downgraded, 1 rebuilt, 1 removed, [\d.]+ kB to copy$/m,
  );

  await world.approve(held.id, 'firefox 121 crashes \u202e');
  const published = await world.untilPublished(held.id);
  assert.equal(published.generation, 2);
  assert.ok(existsSync(join(primary.public, 'main/x86_64/firefox-120.0-r0.apk')));
  const [generation, decision, first, ...rest] = await world.history();
  assert.equal(rest.length, 0);
  assert.ok(generation?.kind === 'generation' && decision?.kind === 'decision' && first?.kind === 'generation');
  assert.deepEqual(
    [generation.generation, generation.batch, generation.builder, generation.added, generation.removed],
    [2, held.id, 'bpo', 4, 4],
  );
  assert.deepEqual(
    generation.indexes.map((r) => [r.path, r.change, r.signed_by]),
    [['main/x86_64/APKINDEX.tar.gz', 'updated', primary.key.name]],
  );
  for (const seconds of Object.values(generation.stage_seconds)) assert.ok(seconds !== null && seconds >= 0);
  assert.deepEqual(
    [decision.decision, decision.batch, decision.who, decision.why],
    ['approved', held.id, 'alice', 'firefox 121 crashes \\u{202e}'],
  );
  assert.deepEqual(decision.indexes[0]?.reasons, held.reasons);
  assert.equal(first.indexes[0]?.change, 'added');
  const table = await world.cli('history');
  assert.match(table.out, /^\S+ +approved +bpo +- +- +main\/x86_64 /m);
  assert.match(table.out, /^ {2}by alice: firefox 121 crashes \\u\{202e\} \(DOWNGRADE, REBUILT\)$/m);
});

test('an approval is for one index and what was shown of it', { timeout: 600_000 }, async (t) => {
  const world = await start(t);
  const { primary } = world;
  const repository = primary.repository('main/x86_64');
  repository.set({ name: 'a', version: '9-r0', contentBytes: 100, seed: 1 });
  await repository.write(primary.inbox);
  await primary.untilGeneration(1);
  repository.set({ name: 'a', version: '8-r0', contentBytes: 100, seed: 2 });
  await repository.write(primary.inbox);
  const held = await world.untilReason('held', 'DOWNGRADE', 'main/x86_64');

  // Another index takes its place before the approval, and is held in the same words: what was looked at is not there any more.
  repository.set({ name: 'a', version: '8-r0', contentBytes: 100, seed: 3 });
  await repository.write(primary.inbox);
  const other = await world.untilReason('held', 'DOWNGRADE', 'main/x86_64', held.id);
  assert.deepEqual(other.reasons, held.reasons);
  const stale = await world.cli('approve', held.id);
  assert.equal(stale.code, 1);
  assert.match(stale.err, /is not what it was when it was held/);
  assert.equal((await primary.status()).generation, 1);

  // The next index is asked about again.
  await world.approve(other.id, 'meant');
  await world.untilPublished(other.id);
  repository.set({ name: 'a', version: '6-r0', contentBytes: 100, seed: 4 });
  await repository.write(primary.inbox);
  const third = await world.untilReason('held', 'DOWNGRADE', 'main/x86_64', other.id);
  const rejected = await world.cli('reject', third.id, '--reason', 'enough');
  assert.equal(rejected.code, 0, rejected.err);
  const refused = await world.untilReason('rejected', 'DOWNGRADE', 'main/x86_64');
  assert.equal(refused.id, third.id);
  assert.equal(refused.reasons[0]?.detail, 'rejected by alice: enough');
  assert.equal((await primary.status()).generation, 2);
  const [newest] = await world.history();
  assert.deepEqual(newest?.kind === 'decision' && [newest.decision, newest.why], ['rejected', 'enough']);
});

test('what cannot be verified cannot be approved', { timeout: 600_000 }, async (t) => {
  const world = await start(t, { inbox: `${settle}\n    approval: required` });
  const { primary } = world;
  const repository = primary.repository('main/x86_64');
  const made = repository.set({ name: 'a', version: '1-r0', contentBytes: 3000, seed: 1 });
  const directory = join(primary.inbox, 'main/x86_64');
  await repository.write(primary.inbox);
  const held = await world.untilReason('held', 'APPROVAL', 'main/x86_64');
  // Spoilt between the upload and the approval.
  const spoilt = Buffer.from(made.bytes);
  spoilt[spoilt.length - 1500] = (spoilt[spoilt.length - 1500] ?? 0) ^ 1;
  await writeFile(join(directory, made.file), spoilt);
  await world.approve(held.id, 'looks fine');
  await world.untilReason('rejected', 'DATA_MISMATCH', `main/x86_64/${made.file}`);
  assert.equal((await primary.status()).generation, 0);
  await writeFile(join(directory, made.file), made.bytes);
  await world.untilPublished(held.id);
});

test('every batch of an inbox may have to wait for a person', { timeout: 600_000 }, async (t) => {
  const world = await start(t, { inbox: `${settle}\n    approval: required` });
  const { primary } = world;
  const repository = primary.repository('main/x86_64');
  for (const [n, detail] of [
    [1, 'every batch of this inbox waits: 1 added'],
    [2, 'every batch of this inbox waits: 1 upgraded'],
  ] as const) {
    repository.set({ name: 'a', version: `${n}-r0`, contentBytes: 100, seed: n });
    await repository.write(primary.inbox);
    const held = await world.untilReason('held', 'APPROVAL', 'main/x86_64');
    assert.equal(held.reasons[0]?.detail, detail);
    assert.equal((await primary.status()).generation, n - 1);
    await world.approve(held.id, 'yes');
    await world.untilPublished(held.id);
  }
});

test('an index that empties its repository is held, and published once approved', { timeout: 600_000 }, async (t) => {
  const world = await start(t);
  const { primary } = world;
  const repository = primary.repository('main/x86_64');
  repository.set({ name: 'a', version: '1-r0', contentBytes: 100, seed: 1 });
  await repository.write(primary.inbox);
  await primary.untilGeneration(1);
  repository.remove('a');
  await repository.write(primary.inbox);
  const held = await world.untilReason('held', 'INDEX_EMPTY', 'main/x86_64');
  assert.equal(held.reasons.length, 1);
  await world.approve(held.id, 'the repository is retired');
  await world.untilPublished(held.id);
  const { repositories } = await primary.status();
  assert.deepEqual(
    repositories.map((r) => [r.path, r.packages]),
    [['main/x86_64', 0]],
  );
  assert.ok(existsSync(join(primary.public, 'main/x86_64/a-1-r0.apk')), 'it stays for the grace period');
});

test('an older index is held, whatever is in it', { timeout: 600_000 }, async (t) => {
  const world = await start(t);
  const { primary } = world;
  const repository = primary.repository('main/x86_64');
  repository.set({ name: 'a', version: '1-r0', contentBytes: 100, seed: 1, buildTime: 1_700_000_100 });
  await repository.write(primary.inbox);
  await primary.untilGeneration(1);
  repository.remove('a');
  repository.set({ name: 'b', version: '1-r0', contentBytes: 100, seed: 2, buildTime: 1_700_000_000 });
  await repository.write(primary.inbox);
  const held = await world.untilReason('held', 'DOWNGRADE', 'main/x86_64');
  assert.deepEqual(
    held.reasons.map((r) => r.detail),
    ['its newest package was built at 2023-11-14T22:13:20Z, that of the index that is served at 2023-11-14T22:15:00Z'],
  );
});

test('a repository that vanishes is held; approved, it leaves the primary and its mirrors; it may come back', {
  timeout: 600_000,
}, async (t) => {
  const world = await start(t, { repositories: ['*/{arch}'] });
  const { primary } = world;
  await primary.configure({ inbox: settle, more: rescan, repositories: ['*/{arch}'], mirrors: usb(world.mirror) });
  assert.equal((await world.cli('reload')).code, 0);
  const [stays, goes] = [primary.repository('main/x86_64'), primary.repository('old/x86_64')];
  for (const [n, repository] of [stays, goes].entries()) {
    repository.set({ name: 'a', version: '1-r0', contentBytes: 100, seed: n });
    await repository.write(primary.inbox);
    await primary.untilGeneration(n + 1);
  }
  await primary.untilInSync('usb', 2);
  const [index, file] = ['old/x86_64/APKINDEX.tar.gz', 'old/x86_64/a-1-r0.apk'];
  assert.ok(existsSync(join(world.mirror, index)));

  const aside = join(primary.directory, 'aside');
  await rename(join(primary.inbox, 'old'), aside);
  const held = await world.untilReason('held', 'REPOSITORY_VANISHED', 'old/x86_64');
  const preview = await world.preview(held.id);
  assert.deepEqual(preview.indexes[0]?.changes.removed, {
    count: 1,
    packages: [{ name: 'a', from: '1-r0', to: null }],
  });
  assert.equal((await primary.status()).generation, 2);
  await world.approve(held.id, 'retired');
  assert.equal((await world.untilPublished(held.id)).generation, 3);
  await primary.untilInSync('usb', 3);
  for (const top of [primary.public, world.mirror]) {
    assert.ok(!existsSync(join(top, index)), `${top} has no index`);
    assert.ok(existsSync(join(top, file)), `${top} keeps the packages for the grace period`);
    assert.ok(existsSync(join(top, 'main/x86_64/APKINDEX.tar.gz')));
  }
  assert.deepEqual(
    (await primary.status()).repositories.map((r) => r.path),
    ['main/x86_64'],
  );
  const [generation] = await world.history();
  assert.deepEqual(generation?.kind === 'generation' && [generation.removed, generation.indexes.map((r) => r.change)], [
    1,
    ['removed'],
  ]);

  // The other trees catch up with what left.
  for (let n = 4; n <= 6; n++) {
    stays.set({ name: 'a', version: `${n}-r0`, contentBytes: 100, seed: n });
    await stays.write(primary.inbox);
    await primary.untilGeneration(n);
    assert.ok(!existsSync(join(primary.public, index)), `generation ${n} has no index of it`);
  }

  // The same index again is no news, but no replay either: somebody must want it.
  await rename(aside, join(primary.inbox, 'old'));
  const back = await world.untilReason('held', 'REPLAY', 'old/x86_64');
  await world.approve(back.id, 'needed after all');
  await world.untilPublished(back.id);
  await primary.untilInSync('usb', 7);
  assert.ok(existsSync(join(world.mirror, index)));
  assert.deepEqual(await readFile(join(primary.public, index)), await readFile(join(primary.inbox, index)));
});

test('staging repositories leave and come back without asking; an absent inbox makes nothing vanish', {
  timeout: 600_000,
}, async (t) => {
  const options: PrimaryOptions = {
    inbox: settle,
    repositories: ['main/{arch}', 'staging/*/{arch}'],
    more: `${rescan}\nguards: { may_vanish: ["staging/*/{arch}"] }`,
  };
  const world = await start(t, options);
  const { primary } = world;
  const [stays, goes] = [primary.repository('main/x86_64'), primary.repository('staging/x/x86_64')];
  for (const [n, repository] of [stays, goes].entries()) {
    repository.set({ name: 'a', version: '1-r0', contentBytes: 100, seed: n });
    await repository.write(primary.inbox);
    await primary.untilGeneration(n + 1);
  }
  const before = await snapshot(primary.public);

  await t.test('the inbox goes away, and an empty one is in its place', async () => {
    const aside = join(primary.root, 'inbox/aside');
    await rename(primary.inbox, aside);
    await primary.until('the daemon to miss it', () => primary.log.includes('"inbox_absent"'));
    await mkdir(primary.inbox);
    await new Promise((done) => setTimeout(done, 1500));
    const status = await primary.status();
    assert.equal(status.generation, 2);
    assert.deepEqual(
      status.batches.filter((b) => b.state !== 'published'),
      [],
    );
    assert.deepEqual(await snapshot(primary.public), before);
    await rm(primary.inbox, { recursive: true });
    await rename(aside, primary.inbox);
  });

  await t.test('a staging repository leaves and comes back', async () => {
    const aside = join(primary.directory, 'aside');
    await rename(join(primary.inbox, 'staging/x'), aside);
    await primary.untilGeneration(3);
    assert.ok(!existsSync(join(primary.public, 'staging/x/x86_64/APKINDEX.tar.gz')));
    await rename(aside, join(primary.inbox, 'staging/x'));
    await primary.untilGeneration(4);
    assert.ok(existsSync(join(primary.public, 'staging/x/x86_64/APKINDEX.tar.gz')));
  });

  await t.test('a template that stops matching is a repository that vanishes', async () => {
    await primary.configure({ ...options, repositories: ['main/{arch}'], more: rescan });
    assert.equal((await world.cli('reload')).code, 0);
    const held = await world.untilReason('held', 'REPOSITORY_VANISHED', 'staging/x/x86_64');
    assert.match(held.reasons[0]?.detail ?? '', /matches no path template/);
    const outside = await world.untilReason('rejected', 'OUT_OF_SCOPE', 'staging/x/x86_64/APKINDEX.tar.gz');
    assert.equal(outside.reasons.length, 1);
    assert.equal((await primary.status()).generation, 4);
  });
});

function bound(world: World): { primary: Primary; untilReason: World['untilReason'] } {
  return { primary: world.primary, untilReason: (...args) => world.untilReason(...args) };
}
