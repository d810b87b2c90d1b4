import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { chmod, lstat, mkdir, readFile, readlink, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { uploaderOf } from '../../src/ingest/locks.ts';
import { Primary } from '../support/primary.ts';
import { missingProgram } from '../support/sshd.ts';

interface World {
  readonly primary: Primary;
  /** What the builder has, to be uploaded. */
  readonly builder: string;
  /** `held`: of what is sent, the first 20 kB arrive, and the rest waits. */
  rsync(options?: readonly string[], held?: boolean): Upload;
}

interface Upload {
  readonly done: Promise<number | null>;
  /** Lets the rest through. */
  readonly goOn: () => Promise<void>;
  /** The rest never comes. */
  readonly cut: () => Promise<void>;
}

/** A builder whose rsync talks to a real rrsync, started as sshd would start it for the builder's key. */
async function start(
  t: TestContext,
  config: { readonly inbox?: string; readonly more?: string } = {},
): Promise<World | null> {
  const missing = missingProgram('rsync', 'rrsync', 'bash');
  if (missing !== undefined) {
    t.skip(`${missing} absent`);
    return null;
  }
  const primary = await Primary.create({ inbox: '    settle: 300ms', repositories: ['main/{arch}'], ...config });
  t.after(() => primary[Symbol.asyncDispose]());
  const builder = join(primary.directory, 'builder');
  await mkdir(builder);
  const shell = join(primary.directory, 'shell');
  // Held while the one file is there; cut off when the other one is there then.
  const [held, cut] = [`${shell}.held`, `${shell}.cut`];
  const rest = `while [ -e '${held}' ]; do sleep 0.05; done; [ -e '${cut}' ] || exec cat <&3`;
  await writeFile(
    shell,
    `#!/bin/bash
shift
export SSH_ORIGINAL_COMMAND="$*"
exec 3<&0
exec rrsync -wo -munge -no-del '${primary.inbox}' < <(dd bs=1 count=20000 <&3 2> /dev/null; ${rest}) 3<&-
`,
  );
  await chmod(shell, 0o755);
  await primary.start();
  return {
    primary,
    builder,
    rsync: (options = [], isHeld = false) => {
      rmSync(cut, { force: true });
      if (isHeld) writeFileSync(held, '');
      const child = spawn('rsync', ['-a', '-e', shell, ...options, `${builder}/`, 'host:/'], { stdio: 'ignore' });
      t.after(() => child.kill('SIGKILL'));
      return {
        done: new Promise((resolve) => child.once('close', resolve)),
        goOn: () => rm(held, { force: true }),
        cut: async () => {
          await writeFile(cut, '');
          await rm(held, { force: true });
        },
      };
    },
  };
}

test('what is whole before the upload is over waits for its end, and all of it goes out as one generation', {
  timeout: 600_000,
}, async (t) => {
  const world = await start(t);
  if (!world) return;
  const { primary, builder } = world;
  const first = primary.repository('main/armhf');
  first.set({ name: 'a', version: '1-r0', contentBytes: 1000, seed: 1 });
  await first.write(builder);
  const second = primary.repository('main/x86_64');
  second.set({ name: 'b', version: '1-r0', contentBytes: 3_000_000, seed: 2 });
  await second.write(builder);
  const { dev, ino } = await stat(primary.inbox, { bigint: true });
  const upload = world.rsync([], true);
  const armhf = join(primary.inbox, 'main/armhf/a-1-r0.apk');
  await primary.until('the first repository to be there', () =>
    stat(armhf).then(
      () => true,
      () => false,
    ),
  );
  assert.notEqual(await uploaderOf(dev, ino), null, 'this kernel shows the lock of rrsync');
  await primary.until('the daemon to see that it waits', async () =>
    (await primary.status()).batches.some((b) => b.state === 'waiting'),
  );
  for (let look = 0; look < 20; look++) {
    assert.equal((await primary.status()).generation, 0, 'nothing is published meanwhile');
    await sleep(50);
  }
  await upload.goOn();
  assert.equal(await upload.done, 0);
  await primary.untilGeneration(1);
  const { generation, repositories } = await primary.status();
  assert.deepEqual([generation, repositories.map((r) => r.path)], [1, ['main/armhf', 'main/x86_64']]);
});

test('an upload that is cut off is held with its names; sent again, it goes out under the same id', {
  timeout: 600_000,
}, async (t) => {
  const world = await start(t);
  if (!world) return;
  const { primary, builder } = world;
  const repository = primary.repository('main/x86_64');
  repository.set({ name: 'a', version: '1-r0', contentBytes: 1000, seed: 1 });
  repository.set({ name: 'b', version: '1-r0', contentBytes: 3_000_000, seed: 2 });
  await repository.write(builder);
  const upload = world.rsync([], true);
  const whole = join(primary.inbox, 'main/x86_64/a-1-r0.apk');
  await primary.until('the first package to be there', () =>
    stat(whole).then(
      () => true,
      () => false,
    ),
  );
  await upload.cut();
  assert.notEqual(await upload.done, 0);
  const held = await primary.untilBatch('held');
  assert.deepEqual(
    held.reasons.map((r) => [r.code, r.path]),
    [['INCOMPLETE', 'main/x86_64/b-1-r0.apk']],
  );
  assert.equal(await world.rsync().done, 0);
  const published = await primary.untilBatch('published');
  assert.equal(published.id, held.id);
});

test('symlinks between arches come munged and are taken as the package that they point to, one inode for all', {
  timeout: 600_000,
}, async (t) => {
  const world = await start(t);
  if (!world) return;
  const { primary, builder } = world;
  const spec = { name: 'shared', version: '1-r0', packageArch: 'noarch', contentBytes: 5000, seed: 1 };
  const arches = ['aarch64', 'armhf', 'x86_64'];
  for (const arch of arches) {
    const repository = primary.repository(`main/${arch}`);
    const { file } = repository.set(spec);
    await repository.write(builder);
    if (arch === 'x86_64') continue;
    await rename(join(builder, 'main', arch, file), join(builder, 'gone'));
    await symlink(`../x86_64/${file}`, join(builder, 'main', arch, file));
  }
  assert.equal(await world.rsync(['--exclude=/gone']).done, 0);
  assert.match(await readlink(join(primary.inbox, 'main/armhf/shared-1-r0.apk')), /^\/rsyncd-munged\//);
  await primary.untilGeneration(1);
  const facts = await Promise.all(arches.map((arch) => lstat(join(primary.public, 'main', arch, 'shared-1-r0.apk'))));
  assert.ok(facts.every((f) => f.isFile()));
  assert.equal(new Set(facts.map((f) => f.ino)).size, 1);
  const original = join(builder, 'main/x86_64/shared-1-r0.apk');
  assert.deepEqual(await readFile(join(primary.public, 'main/armhf/shared-1-r0.apk')), await readFile(original));
  assert.equal(Math.floor((facts[0]?.mtimeMs ?? 0) / 1000), Math.floor((await stat(original)).mtimeMs / 1000));
});

test('an index that is replaced while packages are on their way: the last one is served in the end', {
  timeout: 600_000,
}, async (t) => {
  const world = await start(t, { more: 'schedule: { rescan: 1s }' });
  if (!world) return;
  const { primary, builder } = world;
  const repository = primary.repository('main/x86_64');
  for (let n = 0; n < 300; n++) repository.set({ name: `p${n}`, version: '1-r0', contentBytes: 20_000, seed: n });
  await repository.write(primary.inbox);
  // While the daemon copies these three hundred, indexes and packages change under it, with no lock to be seen.
  for (let round = 2; round < 8; round++) {
    for (let n = 0; n < 20; n++)
      repository.set({ name: `p${n * round}`, version: `${round}-r0`, contentBytes: 20_000, seed: round * 1000 + n });
    await repository.write(primary.inbox);
  }
  await repository.write(builder);
  const index = await readFile(join(builder, 'main/x86_64/APKINDEX.tar.gz'));
  const served = join(primary.public, 'main/x86_64');
  await primary.until('the last index', () =>
    readFile(join(served, 'APKINDEX.tar.gz')).then(
      (b) => b.equals(index),
      () => false,
    ),
  );
  for (const { name, version, size } of repository.entries)
    assert.equal((await stat(join(served, `${name}-${version}.apk`))).size, size);
});
