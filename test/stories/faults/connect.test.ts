import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { createConnection, type Socket } from 'node:net';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { FaultWorld, type Reach, type Told } from '../../support/fault-world.ts';
import { startProxy } from '../../support/proxy.ts';
import { freePort, makeKeyFile, missingProgram, startSshd } from '../../support/sshd.ts';

/** A port whose queue of new connections is full and whose owner sleeps: what is sent there is dropped, as by a firewall. */
async function blackHole(): Promise<AsyncDisposable & { readonly port: number }> {
  const code =
    "require('node:net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, function () { console.log(this.address().port) })";
  const child = spawn(process.execPath, ['-e', code], { stdio: ['ignore', 'pipe', 'inherit'] });
  const port = Number(String((await once(child.stdout, 'data'))[0]));
  child.kill('SIGSTOP');
  const sockets: Socket[] = [];
  for (let n = 0; n < 6; n++) {
    sockets.push(createConnection({ host: '127.0.0.1', port }).on('error', () => {}));
    await sleep(20);
  }
  return {
    port,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      child.kill('SIGKILL');
      await once(child, 'close');
    },
  };
}

test('mirrors that cannot be reached or do not know us: each says why, none delays the others, all catch up', async (t) => {
  const missing = missingProgram('sshd', 'rsync', 'ssh-keygen');
  if (missing) return t.skip(`${missing} is not installed`);
  await using world = await FaultWorld.create();
  await using hole = await blackHole();
  await using silent = await startProxy(null);
  await using sshd = await startSshd({ sftp: 'internal-sftp', rsync: null });
  const strangerKey = `${world.primary.directory}/stranger`;
  await makeKeyFile(strangerKey);
  const nobody = await freePort();
  const faults: Record<string, Partial<Reach> & Told> = {
    dns: { host: 'mirror.invalid', reason: 'dns', says: /does not resolve: check it/, waitsFor: 'time' },
    refused: { port: nobody, reason: 'refused', says: /nothing listens there: check host and port/, waitsFor: 'time' },
    hole: { port: hole.port, reason: 'timeout', says: /silent for 2 s: is it hung\?/, waitsFor: 'time' },
    silent: { port: silent.port, reason: 'timeout', says: /silent for 2 s: is it hung\?/, waitsFor: 'time' },
    stranger: {
      identity: strangerKey,
      reason: 'auth',
      says: /the key is not accepted: check user, identity and authorized_keys/,
      waitsFor: 'person',
    },
    changed: {
      hostKey: 'SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA',
      reason: 'host_key',
      says: /SHA256:[A-Za-z0-9+/]{43}/,
      waitsFor: 'person',
    },
  };
  const names: string[] = [];
  for (const type of ['sftp', 'rsync'] as const) {
    for (const [fault, { host, port, identity, hostKey }] of Object.entries(faults)) {
      const name = `${type}-${fault}`;
      names.push(name);
      await mkdir(world.at(name));
      const wrong = {
        ...(host && { host }),
        ...(port && { port }),
        ...(identity && { identity }),
        ...(hostKey && { hostKey }),
      };
      world.mirror(name, sshd, { type, account: type, path: world.at(name), ...wrong });
    }
  }
  await world.configure();
  await world.primary.start();
  assert.equal(await world.publish(), 1);
  for (const name of names) {
    const told = faults[name.split('-')[1] ?? ''];
    if (told) await world.untilTold(name, told);
  }
  assert.equal(await world.publish(), 2, 'the good mirror is served meanwhile');

  for (const name of names) {
    const type = name.startsWith('sftp') ? 'sftp' : 'rsync';
    world.mirror(name, sshd, { type, account: type, path: world.at(name) });
  }
  await world.configure();
  for (const name of names) await world.untilCaughtUp(name, 2);
});
