import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import { FaultWorld, type Told } from '../../support/fault-world.ts';
import { findProgram, missingProgram, startSshd } from '../../support/sshd.ts';

const missing = missingProgram('sshd', 'rsync', 'rrsync', 'ssh-keygen', 'flock');
const rrsync = findProgram('rrsync') ?? 'rrsync';

test('accounts that refuse what we need wait for a person, say what to change, and catch up once it is changed', async (t) => {
  if (missing) return t.skip(`${missing} is not installed`);
  await using world = await FaultWorld.create();
  const faults: Record<string, Told & { readonly command: string; readonly path?: string }> = {
    readonly: {
      command: `${rrsync} -ro ${world.at('readonly')}`,
      reason: 'option_refused',
      says: /restricted to the other direction: check -ro and -wo of rrsync/,
      waitsFor: 'person',
    },
    shell: {
      command: 'internal-sftp',
      reason: 'remote_shell',
      says: /the account does not run rsync/,
      waitsFor: 'person',
    },
    absent: {
      command: 'exec rsyncd-of-nobody',
      reason: 'remote_shell',
      says: /does not run rsync/,
      waitsFor: 'person',
    },
    path: {
      command: rrsync + ' ' + world.at('path'),
      path: '/not/there',
      reason: 'not_found',
      says: /is the disk mounted, is path right\?/,
      waitsFor: 'person',
    },
    gone: {
      command: `${rrsync} ${world.at('gone')}/away`,
      reason: 'not_found',
      says: /is the disk mounted, is path right\?/,
      waitsFor: 'person',
    },
  };
  const names = Object.keys(faults);
  const accounts = Object.fromEntries(Object.entries(faults).map(([name, { command }]) => [name, command]));
  const good = Object.fromEntries(names.map((name) => [`good-${name}`, `${rrsync} -wo ${world.at(name)}`]));
  await using sshd = await startSshd({ ...accounts, ...good, sftp: 'internal-sftp' });
  for (const [name, { path = '/' }] of Object.entries(faults)) {
    await mkdir(world.at(name));
    world.mirror(name, sshd, { type: 'rsync', account: name, path });
  }
  await mkdir(world.at('lost'));
  world.mirror('lost', sshd, { type: 'sftp', account: 'sftp', path: `${world.at('lost')}/wrong` });
  await mkdir(world.at('bash'));
  world.mirror('bash', sshd, { type: 'sftp', account: 'good-path', path: world.at('bash') });
  await world.configure();
  await world.primary.start();
  await world.publish();
  for (const [name, told] of Object.entries(faults)) await world.untilTold(name, told);
  await world.untilTold('lost', { reason: 'not_found', says: /is path right\?/, waitsFor: 'person' });
  await world.untilTold('bash', { reason: 'protocol', says: /does not speak SFTP/, waitsFor: 'time' });
  assert.equal(await world.publish(), 2);
  for (const name of names) world.mirror(name, sshd, { type: 'rsync', account: `good-${name}`, path: '/' });
  for (const name of ['lost', 'bash'])
    world.mirror(name, sshd, { type: 'sftp', account: 'sftp', path: world.at(name) });
  await world.configure();
  for (const name of [...names, 'lost', 'bash']) await world.untilCaughtUp(name, 2);
});

test('an account that replaces nothing (-no-overwrite) does not count as pushed to', async (t) => {
  if (missing) return t.skip(`${missing} is not installed`);
  await using world = await FaultWorld.create();
  const root = world.at('keeps');
  await using sshd = await startSshd({ keeps: `${rrsync} -wo -no-overwrite ${root}`, better: `${rrsync} -wo ${root}` });
  await mkdir(root);
  world.mirror('keeps', sshd, { type: 'rsync', account: 'keeps', path: '/' });
  await world.configure();
  await world.primary.start();
  // What is new comes; the first index that is to be replaced tells.
  await world.publish();
  await world.untilCaughtUp('keeps', 1);
  await world.publish();
  await world.untilTold('keeps', {
    reason: 'option_refused',
    says: /does not replace main\/x86_64\/APKINDEX\.tar\.gz: take -no-overwrite/,
    waitsFor: 'person',
  });
  world.mirror('keeps', sshd, { type: 'rsync', account: 'better', path: '/' });
  await world.configure();
  await world.untilCaughtUp('keeps', 2);
});

test('an rrsync that somebody else holds is tried again in a moment', async (t) => {
  if (missing) return t.skip(`${missing} is not installed`);
  await using world = await FaultWorld.create();
  const root = world.at('held');
  await using sshd = await startSshd({ held: `${rrsync} -wo ${root}` });
  await mkdir(root);
  const holder = spawn('flock', [root, 'sh', '-c', 'echo held; cat'], { stdio: ['pipe', 'pipe', 'inherit'] });
  await once(holder.stdout, 'data');
  world.mirror('held', sshd, { type: 'rsync', account: 'held', path: '/' });
  await world.configure();
  await world.primary.start();
  await world.publish();
  await world.untilTold('held', { reason: 'busy', says: /another push holds the lock of rrsync/, waitsFor: 'time' });
  await world.publish();
  holder.stdin.end();
  await once(holder, 'close');
  await world.untilCaughtUp('held', 2);
});

test('a limit on deletions at the mirror keeps what nothing needs, is told, and does not put it out of step', async (t) => {
  if (missing) return t.skip(`${missing} is not installed`);
  await using world = await FaultWorld.create();
  const root = world.at('limited');
  // rsync itself at the far side, with a limit that its owner has set.
  const limited = `set -- $SSH_ORIGINAL_COMMAND; shift 2; exec rsync --server --max-delete=0 "$@"`;
  await using sshd = await startSshd({ limited, free: null });
  await mkdir(root);
  world.mirror('limited', sshd, { type: 'rsync', account: 'limited', path: root });
  await world.configure('publish: { grace: 1s }');
  await world.primary.start();
  await world.publish();
  await world.untilCaughtUp('limited', 1);
  await world.publish();
  await world.untilCaughtUp('limited', 2);
  await world.primary.until('the prune', () => {
    void world.primary.control('push', { mirror: 'limited' });
    return world.primary.log.includes('"event":"prune_refused"');
  });
  assert.match(world.primary.log, /"mirror":"limited".*a limit on deletions stopped the run/);
  await world.untilCaughtUp('limited', 2);
});

test('an SFTP account that may not remove keeps strangers and what has expired, is told, and is in step all the same', async (t) => {
  if (missing) return t.skip(`${missing} is not installed`);
  await using world = await FaultWorld.create();
  const root = world.at('keeper');
  await using sshd = await startSshd({ keeper: 'internal-sftp -P remove' });
  await mkdir(join(root, 'main/x86_64'), { recursive: true });
  await writeFile(join(root, 'main/x86_64/stranger-1-r0.apk'), 'of nobody');
  world.mirror('keeper', sshd, { type: 'sftp', account: 'keeper', path: root });
  await world.configure('publish: { grace: 1s }');
  await world.primary.start();
  await world.publish();
  await world.untilCaughtUp('keeper', 1);
  assert.match(
    world.primary.log,
    /"event":"prune_refused".*"mirror":"keeper"|"mirror":"keeper".*"event":"prune_refused"/,
  );
  await world.publish();
  await world.untilCaughtUp('keeper', 2);
  assert.ok(existsSync(join(root, 'main/x86_64/stranger-1-r0.apk')));
});

test('a disk that is not mounted is waited for, and found when it comes', async (t) => {
  if (missing) return t.skip(`${missing} is not installed`);
  await using world = await FaultWorld.create();
  await mkdir(world.at('elsewhere'));
  world.directoryMirror('usb', world.at('usb'));
  await world.configure();
  await world.primary.start();
  await world.publish();
  await world.untilTold('usb', { reason: 'not_found', says: /is the disk mounted\?/, waitsFor: 'time' });
  await rename(world.at('elsewhere'), world.at('usb'));
  await world.untilCaughtUp('usb', 1);
});
