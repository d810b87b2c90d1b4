import assert from 'node:assert/strict';
import { cp, mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import { FaultWorld } from '../../support/fault-world.ts';
import { snapshot } from '../../support/primary.ts';
import { findProgram, missingProgram, type Sshd, startSshd } from '../../support/sshd.ts';

const missing = missingProgram('sshd', 'rsync', 'rrsync', 'ssh-keygen', 'mount');
const rrsync = findProgram('rrsync') ?? 'rrsync';
const kinds = ['directory', 'sftp', 'rsync'] as const;

async function serve(world: FaultWorld): Promise<Sshd> {
  const sshd = await startSshd({ sftp: 'internal-sftp', rsync: `${rrsync} ${world.at('rsync')}` });
  for (const kind of kinds) await mkdir(world.at(kind));
  return sshd;
}

function addMirrors(world: FaultWorld, sshd: Sshd): void {
  world.directoryMirror('directory', world.at('directory'));
  for (const type of ['sftp', 'rsync'] as const)
    world.mirror(type, sshd, {
      type,
      account: type,
      path: type === 'sftp' ? world.at(type) : '/',
      more: 'timeout: 20s',
    });
}

test('mirrors that fill up keep what they served, say so, and catch up when there is room', async (t) => {
  if (missing) return t.skip(`${missing} is not installed`);
  await using world = await FaultWorld.create();
  await using sshd = await serve(world);
  for (const kind of kinds)
    if (!(await world.mount(kind, ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs']))) return t.skip('mounting is not allowed');
  addMirrors(world, sshd);
  await world.configure();
  await world.primary.start();
  await world.publish(3, 50_000);
  for (const kind of kinds) await world.untilCaughtUp(kind, 1);
  const before = await world.wanted();
  await world.publish(4, 400_000);
  const told = { reason: 'disk_full', says: /its admin must make room/, waitsFor: 'time' } as const;
  for (const kind of kinds) await world.untilTold(kind, told);
  for (const kind of kinds) {
    const there = await snapshot(world.at(kind));
    for (const [path, file] of before) assert.deepEqual(there.get(path), file, `${kind} serves ${path} as before`);
    await world.remount(kind, 'size=16m');
  }
  for (const kind of kinds) await world.untilCaughtUp(kind, 2);
});

test('mirrors whose file system turns read-only wait for a person, and catch up when it is writable', async (t) => {
  if (missing) return t.skip(`${missing} is not installed`);
  await using world = await FaultWorld.create();
  await using sshd = await serve(world);
  addMirrors(world, sshd);
  await world.configure();
  await world.primary.start();
  await world.publish();
  for (const kind of kinds) await world.untilCaughtUp(kind, 1);
  for (const kind of kinds) {
    if (!(await world.mount(kind, ['--bind', world.at(kind)]))) return t.skip('mounting is not allowed');
    await world.remount(kind, 'bind,ro');
  }
  await world.publish();
  const told = { reason: 'read_only', says: /file system of the mirror is read-only/, waitsFor: 'person' } as const;
  for (const kind of kinds) await world.untilTold(kind, told);
  for (const kind of kinds) await world.remount(kind, 'bind,rw');
  for (const kind of kinds) await world.untilCaughtUp(kind, 2);
});

test('a package that is gone from our own tree is told as ours to mend, and no index goes out without it', async (t) => {
  if (missing) return t.skip(`${missing} is not installed`);
  await using world = await FaultWorld.create();
  await using sshd = await serve(world);
  await world.configure();
  await world.primary.start();
  await world.publish();
  const trees = join(world.primary.root, 'trees');
  const lost = 'main/x86_64/pkg-1-1.1-r0.apk';
  for (const tree of await readdir(trees)) await rm(join(trees, tree, lost), { force: true });
  addMirrors(world, sshd);
  await world.configure();
  const told = { reason: 'vanished', says: /if it stays, run lockstepd scrub/, waitsFor: 'time' } as const;
  for (const kind of kinds) await world.untilTold(kind, told);
  for (const kind of kinds)
    assert.equal((await snapshot(world.at(kind))).has('main/x86_64/APKINDEX.tar.gz'), false, kind);
  for (const tree of await readdir(trees))
    await cp(join(world.at('good'), lost), join(trees, tree, lost), { preserveTimestamps: true });
  for (const kind of kinds) await world.untilCaughtUp(kind, 1);
});
