import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import test from 'node:test';
import { FaultWorld, type Told } from '../../support/fault-world.ts';
import { type LinkMode, type Proxy, startProxy } from '../../support/proxy.ts';
import { findProgram, missingProgram, startSshd } from '../../support/sshd.ts';

const missing = missingProgram('sshd', 'rsync', 'rrsync', 'ssh-keygen');
const rrsync = findProgram('rrsync') ?? 'rrsync';
/** Past the handshake of SSH (about 4 kB), in the middle of a file. */
const midFile = 150_000;
const fileBytes = 200_000;

/** What becomes of the link, and what is to be told. */
const faults: Readonly<Record<string, Told & { readonly mode: LinkMode }>> = {
  cut: {
    mode: { kind: 'cut', afterBytes: midFile },
    reason: 'closed',
    says: /ended early/,
    waitsFor: 'time',
  },
  stall: {
    mode: { kind: 'stall', afterBytes: midFile },
    reason: 'timeout',
    says: /silent for 2 s: is it hung\?/,
    waitsFor: 'time',
  },
};

for (const type of ['sftp', 'rsync'] as const) {
  test(`${type}: links that are cut or hang in the middle of a file delay nobody and are made good`, async (t) => {
    if (missing) return t.skip(`${missing} is not installed`);
    await using world = await FaultWorld.create();
    await using stack = new AsyncDisposableStack();
    const names = Object.keys(faults);
    const commandOf = (name: string): string => (type === 'sftp' ? 'internal-sftp' : `${rrsync} -wo ${world.at(name)}`);
    await using sshd = await startSshd(Object.fromEntries(names.map((name) => [name, commandOf(name)])));
    const proxies = new Map<string, Proxy>();
    for (const name of names) {
      const proxy = stack.use(await startProxy(sshd.port));
      proxies.set(name, proxy);
      await mkdir(world.at(name));
      const path = type === 'sftp' ? world.at(name) : '/';
      world.mirror(name, sshd, { type, account: name, path, port: proxy.port });
    }
    await world.configure();
    await world.primary.start();
    await world.publish(3, 3000);
    for (const name of names) await world.untilCaughtUp(name, 1);
    for (const [name, { mode }] of Object.entries(faults)) proxies.get(name)?.set(mode);
    await world.publish(4, fileBytes);
    for (const [name, told] of Object.entries(faults)) await world.untilTold(name, told);
    assert.equal(await world.publish(4, fileBytes), 3, 'the good mirror is served meanwhile');
    for (const proxy of proxies.values()) proxy.set({ kind: 'pass' });
    for (const name of names) await world.untilCaughtUp(name, 3);
  });

  test(`${type}: a far side that is killed in the middle of a file is made good`, async (t) => {
    if (missing) return t.skip(`${missing} is not installed`);
    await using world = await FaultWorld.create();
    const root = world.at('killed');
    await mkdir(root);
    // An account that may read: what a killed rsync leaves behind can be found there.
    await using sshd = await startSshd({ killed: type === 'sftp' ? 'internal-sftp' : `${rrsync} ${root}` });
    // The link stands still in mid file for long enough that the kill meets it there.
    await using proxy = await startProxy(sshd.port);
    const path = type === 'sftp' ? root : '/';
    world.mirror('killed', sshd, { type, account: 'killed', path, port: proxy.port, more: 'timeout: 60s' });
    await world.configure();
    await world.primary.start();
    await world.publish();
    await world.untilCaughtUp('killed', 1);
    proxy.set({ kind: 'stall', afterBytes: midFile });
    await world.publish(4, fileBytes);
    await proxy.untilHeld();
    sshd.killSessions();
    await world.untilTold('killed', { reason: 'closed', says: /ended early/, waitsFor: 'time' });
    proxy.set({ kind: 'pass' });
    await world.untilCaughtUp('killed', 2);
  });

  test(`${type}: a link that only trickles is given up by a deadline of ours`, async (t) => {
    if (missing) return t.skip(`${missing} is not installed`);
    await using world = await FaultWorld.create();
    const root = world.at('slow');
    await mkdir(root);
    await using sshd = await startSshd({ slow: type === 'sftp' ? 'internal-sftp' : `${rrsync} -wo ${root}` });
    await using proxy = await startProxy(sshd.port);
    const path = type === 'sftp' ? root : '/';
    world.mirror('slow', sshd, { type, account: 'slow', path, port: proxy.port, more: 'timeout: 20s, deadline: 3s' });
    await world.configure();
    await world.primary.start();
    await world.publish();
    await world.untilCaughtUp('slow', 1);
    proxy.set({ kind: 'trickle', afterBytes: 12_000, bytes: 60, everyMs: 100 });
    await world.publish(4, 9000);
    await world.untilTold('slow', {
      reason: 'timeout',
      says: /not done after 3 s, the longest that so much may take: is the link too slow\?/,
      waitsFor: 'time',
    });
    proxy.set({ kind: 'pass' });
    await world.untilCaughtUp('slow', 2);
  });
}
