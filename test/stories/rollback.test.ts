import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readdir, readFile, rename, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import test, { type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { HistoryPage, HistoryView } from '../../src/observe/history.ts';
import type { Status } from '../../src/observe/status.ts';
import { missingProgram, startSshd } from '../support/sshd.ts';
import { Primary, snapshot } from '../support/primary.ts';

const main = resolve(import.meta.dirname, '../../src/main.ts');
const settings = 'schedule: { rescan: 1s }\n';
const index = 'main/x86_64/APKINDEX.tar.gz';
type Files = Awaited<ReturnType<typeof snapshot>>;

class World {
  readonly primary: Primary;
  readonly mirrors: readonly string[];

  constructor(primary: Primary, mirrors: readonly string[]) {
    this.primary = primary;
    this.mirrors = mirrors;
  }

  at(mirror: string): string {
    return join(this.primary.directory, 'mirrors', mirror);
  }

  async cli(...args: string[]): Promise<{ code: number; out: string; err: string }> {
    const child = spawn(process.execPath, [main, ...args, '--config', this.primary.configFile], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, SUDO_USER: 'alice' },
    });
    let [out, err] = ['', ''];
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
    const code = await new Promise<number>((done) => child.once('close', (c) => done(c ?? -1)));
    return { code, out, err };
  }

  async history(): Promise<readonly HistoryView[]> {
    return (JSON.parse((await this.cli('history', '--json')).out) as HistoryPage).entries;
  }

  async untilInSync(generation: number): Promise<void> {
    for (const mirror of this.mirrors) await this.primary.untilInSync(mirror, generation);
  }

  async untilReason(state: string, code: string): Promise<Status['batches'][number]> {
    let found: Status['batches'][number] | undefined;
    await this.primary.until(`a batch that is ${state} for ${code}`, async () => {
      const { batches } = await this.primary.status();
      found = batches.find((b) => b.state === state && b.reasons.some((r) => r.code === code));
      return found !== undefined;
    });
    if (!found) throw new Error('unreachable');
    return found;
  }

  /** Byte for byte and with times what the primary serves, on every mirror. */
  async assertMirrors(): Promise<void> {
    const served = await snapshot(this.primary.public);
    for (const mirror of this.mirrors) assert.deepEqual(await snapshot(this.at(mirror)), served, mirror);
  }
}

/** A daemon with a directory mirror, and one by sftp where there is an sshd. */
async function start(t: TestContext, more = ''): Promise<World> {
  const primary = await Primary.create({ inbox: '    settle: 200ms' });
  t.after(() => primary[Symbol.asyncDispose]());
  const at = (name: string): string => join(primary.directory, 'mirrors', name);
  let mirrors = `  - { name: usb, transport: { type: directory, path: ${at('usb')} } }\n`;
  const names = ['usb'];
  await mkdir(at('usb'));
  if (missingProgram('sshd', 'ssh-keygen') === undefined) {
    const sshd = await startSshd({ sftp: 'internal-sftp' });
    t.after(() => sshd[Symbol.asyncDispose]());
    await mkdir(at('sftp'));
    const login = `host: ${sshd.host}, port: ${sshd.port}, user: ${sshd.user}, host_key: "${sshd.hostKeyFingerprint}"`;
    mirrors += `  - { name: sftp, transport: { type: sftp, path: ${at('sftp')}, identity: ${sshd.identity('sftp')}, ${login} } }\n`;
    names.push('sftp');
  } else t.diagnostic('sshd absent: only the directory mirror');
  await primary.configure({ inbox: '    settle: 200ms', mirrors, more: settings + more });
  await primary.start();
  return new World(primary, names);
}

/** Three generations: one more package each, the first one newer each time; and what was served at each. */
async function threeGenerations(world: World): Promise<Files[]> {
  const { primary } = world;
  const repository = primary.repository('main/x86_64');
  repository.set({ name: 'stays', version: '1-r0', contentBytes: 900, seed: 99 });
  const served: Files[] = [];
  for (let n = 1; n <= 3; n++) {
    repository.set({ name: 'a', version: `1.${n}-r0`, contentBytes: 2000, seed: n });
    if (n > 1) repository.set({ name: `b${n}`, version: '1-r0', contentBytes: 500, seed: 10 + n });
    await repository.write(primary.inbox);
    await primary.untilGeneration(n);
    served.push(await snapshot(primary.public));
    // A mirror that skips one never gets its packages; here each gets all.
    await world.untilInSync(n);
  }
  return served;
}

test('a rollback brings an old generation back everywhere; what it left is held until it is approved', {
  timeout: 600_000,
}, async (t) => {
  const world = await start(t);
  const { primary } = world;
  const [first, , third] = await threeGenerations(world);
  assert.ok(first && third);

  const dry = await world.cli('rollback', '--to', '1', '--reason', 'look', '--dry-run');
  assert.equal(dry.code, 0, dry.err);
  assert.match(dry.out, /main\/x86_64\/APKINDEX\.tar\.gz: [0-9a-f]{12} comes back, 1 packages come \(.*\), 3 leave/);
  assert.equal((await primary.status()).generation, 3);

  const done = await world.cli('rollback', '--to', '1', '--reason', 'a 1.3 breaks the boot');
  assert.equal(done.code, 0, done.err);
  assert.match(done.out, /generation 1 is generation 4 now/);
  await world.untilInSync(4);
  await world.assertMirrors();
  const served = await snapshot(primary.public);
  assert.equal(served.get(index)?.content, first.get(index)?.content);
  assert.ok((served.get(index)?.mtimeSeconds ?? 0) > (third.get(index)?.mtimeSeconds ?? 0), 'mtimes go forward');
  assert.deepEqual(served.get('main/x86_64/a-1.1-r0.apk'), first.get('main/x86_64/a-1.1-r0.apk'));
  const [entry] = await world.history();
  assert.ok(entry?.kind === 'generation' && entry.generation === 4);
  assert.deepEqual(entry.rollback, { to: 1, repository: null, who: 'alice', why: 'a 1.3 breaks the boot' });

  // The inbox still holds the index of generation 3: also after a restart it waits for somebody's yes.
  await world.untilReason('held', 'REPLAY');
  await primary.stop();
  await primary.start();
  const held = await world.untilReason('held', 'REPLAY');
  assert.match(held.reasons[0]?.detail ?? '', /alice rolled back to generation 1 \(a 1\.3 breaks the boot\); approve/);
  assert.equal((await primary.status()).generation, 4);
  assert.deepEqual(await snapshot(primary.public), served);

  // After the restart it is looked at anew before it is held again.
  await primary.until('the approval', async () => {
    const approved = await world.cli('approve', held.id, '--reason', 'it was the kernel');
    return approved.code === 0;
  });
  await primary.untilGeneration(5);
  await world.untilInSync(5);
  assert.equal((await snapshot(primary.public)).get(index)?.content, third.get(index)?.content);
  await world.assertMirrors();

  const same = await world.cli('rollback', '--to', '3', '--reason', 'again');
  assert.equal(same.code, 1);
  assert.match(same.err, /is what is served already; nothing was changed/);
});

test('a rollback whose packages are gone names them, and changes nothing; the inbox may still have them', {
  timeout: 600_000,
}, async (t) => {
  const world = await start(t, 'publish: { grace: 0s, keep_trees_for: 0s, keep_for_mirrors: 0s, max_trees: 2 }\n');
  const { primary } = world;
  await threeGenerations(world);
  const old = join(primary.inbox, 'main/x86_64/a-1.1-r0.apk');
  const aside = join(primary.directory, 'aside.apk');
  if (existsSync(old)) await rename(old, aside);
  // Without any grace the old index would go with its packages.
  const kept = await readdir(join(primary.root, 'indexes'));
  const pruned = await world.cli('prune');
  assert.equal(pruned.code, 0, pruned.err);
  const before = await snapshot(primary.public);
  const refused = await world.cli('rollback', '--to', '1', '--reason', 'x');
  assert.equal(refused.code, 1);
  assert.match(refused.err, /main\/x86_64\/.*\n.*cannot go back to generation 1: 1 of its files are missing/);
  assert.deepEqual(await snapshot(primary.public), before);
  assert.equal((await primary.status()).generation, 3);
  assert.ok(kept.length >= 1);
});

test('a daemon killed in the middle of a rollback serves the old generation or the new one, and goes on', {
  timeout: 600_000,
}, async (t) => {
  const world = await start(t, 'guards: { downgrade: allow }\n');
  const { primary } = world;
  const [first, , third] = await threeGenerations(world);
  const outcomes = new Set<string>();
  let target = 1;
  for (const moment of [0, 60, 'published'] as const) {
    const { generation } = await primary.status();
    const asked = primary
      .control('rollback', { to: target, repository: null, who: 'alice', why: 'kill', dry_run: false })
      .catch(() => null);
    const isOut = async (): Promise<boolean> => (await primary.status()).generation > generation;
    const hasBegun = (): boolean => existsSync(join(primary.root, 'ingest/.rollback'));
    await primary.until('the rollback to begin', async () => hasBegun() || (await isOut()));
    if (moment === 'published') await primary.until('the rollback to be out', isOut);
    else await sleep(moment);
    await primary.stop('SIGKILL');
    await asked;
    await primary.start();
    const content = (await readFile(join(primary.public, index))).toString('base64');
    const now = (await primary.status()).generation;
    const whole = now === generation ? 'before' : 'after';
    outcomes.add(whole);
    const expected = [first, third].find((files) => files?.get(index)?.content === content);
    assert.ok(expected, 'one of the two indexes is served');
    for (const [path, file] of expected)
      if (path.endsWith('.apk')) assert.deepEqual((await snapshot(primary.public)).get(path), file, path);
    assert.deepEqual(await readdir(join(primary.root, 'ingest/.rollback')).catch(() => []), []);
    if (whole === 'after') target = target === 1 ? 3 : 1;
    await world.untilInSync(now);
  }
  assert.ok(outcomes.has('after'), 'the last one was out when it was killed');
  t.diagnostic(`ended ${[...outcomes].join(' and ')}`);
  await world.assertMirrors();
});

test('a dry prune says what a prune then does, and what a mirror that is behind holds back', {
  timeout: 600_000,
}, async (t) => {
  const world = await start(t, 'publish: { grace: 0s, keep_trees_for: 0s, keep_for_mirrors: 1d, max_trees: 2 }\n');
  const { primary } = world;
  const repository = primary.repository('main/x86_64');
  repository.set({ name: 'a', version: '1-r0', contentBytes: 1000, seed: 1 });
  await repository.write(primary.inbox);
  await primary.untilGeneration(1);
  await world.untilInSync(1);
  // The disk is gone: what it serves stays as it is.
  await rename(world.at('usb'), `${world.at('usb')}.away`);
  repository.set({ name: 'a', version: '2-r0', contentBytes: 1000, seed: 2 });
  await repository.write(primary.inbox);
  await primary.untilGeneration(2);
  // Only the disk is behind.
  for (const mirror of world.mirrors) if (mirror !== 'usb') await primary.untilInSync(mirror, 2);
  const dry = await world.cli('prune', '--dry-run');
  assert.equal(dry.code, 0, dry.err);
  assert.match(dry.out, /^0 packages would go/m);
  assert.match(dry.out, /^1 packages stay, .*, for mirrors that are behind: usb \(generation 1\)/m);
  await world.cli('prune');
  assert.ok(existsSync(join(primary.public, 'main/x86_64/a-1-r0.apk')));

  await rename(`${world.at('usb')}.away`, world.at('usb'));
  await world.cli('push', 'usb');
  await world.untilInSync(2);
  const size = (await stat(join(primary.public, 'main/x86_64/a-1-r0.apk'))).size;
  const forecast = await primary.control('prune', { dry_run: true });
  const { due } = forecast.body as { due: { files: number; bytes: number } };
  assert.deepEqual([due.files, due.bytes], [1, size]);
  const went = await world.cli('prune');
  assert.match(went.out, /pruned 1 files/);
  assert.ok(!existsSync(join(primary.public, 'main/x86_64/a-1-r0.apk')));
  assert.match((await world.cli('prune', '--dry-run')).out, /^0 packages would go/m);
});

test('a recalled package goes everywhere, comes to no mirror again, and is refused when it is uploaded again', {
  timeout: 600_000,
}, async (t) => {
  const world = await start(t, 'guards: { mass_removal: allow }\n');
  const { primary } = world;
  await threeGenerations(world);
  const leaked = 'main/x86_64/b3-1-r0.apk';
  const away = `${world.at('usb')}.away`;
  await rename(world.at('usb'), away);

  const ambiguous = await world.cli('recall', 'a', '--reason', 'x');
  assert.equal(ambiguous.code, 1);
  assert.match(ambiguous.err, /a means 3 files/);
  const done = await world.cli('recall', 'b3-1-r0', '--reason', 'holds a private key');
  assert.equal(done.code, 0, done.err);
  assert.match(done.out, /breaks main\/x86_64\/APKINDEX\.tar\.gz/);
  for (const tree of await readdir(join(primary.root, 'trees')))
    assert.ok(!existsSync(join(primary.root, 'trees', tree, leaked)), tree);
  if (world.mirrors.includes('sftp'))
    await primary.until('sftp to lose it', () => !existsSync(join(world.at('sftp'), leaked)));
  assert.ok(existsSync(join(away, leaked)), 'the disk is not there');
  const recall = (await world.history()).find((entry) => entry.kind === 'recall');
  assert.deepEqual([recall?.who, recall?.why, recall?.files], ['alice', 'holds a private key', 1]);

  // A restart forgets nothing: the same upload is refused, by name.
  await primary.stop();
  await primary.start();
  const refused = await world.untilReason('rejected', 'RECALLED');
  assert.equal(refused.reasons[0]?.path, leaked);
  assert.ok(!existsSync(join(primary.public, leaked)));

  await rename(away, world.at('usb'));
  await world.cli('push', 'usb');
  await primary.until('usb to lose it', () => !existsSync(join(world.at('usb'), leaked)));

  await world.untilInSync(3);

  // A mirror of which nothing is known is compared in full: what lies there of it goes.
  await mkdir(join(world.at('other'), 'main/x86_64'), { recursive: true });
  await copyFile(join(primary.inbox, leaked), join(world.at('other'), leaked));
  await primary.configure({
    inbox: '    settle: 200ms',
    mirrors: `  - { name: usb, transport: { type: directory, path: ${world.at('other')} } }\n`,
    more: `${settings}guards: { mass_removal: allow }\n`,
  });
  assert.equal((await world.cli('reload')).code, 0);
  // Of the other place, where nothing is shown yet.
  await primary.until('the other place to show it', () => existsSync(join(world.at('other'), index)));
  await primary.untilInSync('usb', 3);
  assert.ok(existsSync(join(world.at('other'), index)));
  assert.ok(!existsSync(join(world.at('other'), leaked)));

  // An index without it goes out.
  const repository = primary.repository('main/x86_64');
  repository.set({ name: 'stays', version: '1-r0', contentBytes: 900, seed: 99 });
  repository.set({ name: 'a', version: '1.4-r0', contentBytes: 2000, seed: 4 });
  await repository.write(primary.inbox);
  await primary.untilGeneration(4);
  await primary.untilInSync('usb', 4);

  // Back to the generation that names it: that is said, and not done.
  const back = await world.cli('rollback', '--to', '3', '--reason', 'x');
  assert.equal(back.code, 1);
  assert.match(back.err, /main\/x86_64\/b3-1-r0\.apk: recalled by alice: holds a private key/);
});
