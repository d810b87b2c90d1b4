import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import test from 'node:test';
import type { TransportConfig } from '../../src/config/mirror-schema.ts';
import { TransportError } from '../../src/errors.ts';
import { tryMirror } from '../../src/replicate/trial.ts';
import { type Clock, systemClock } from '../../src/system/clock.ts';
import { temporaryDirectory } from '../support/apk.ts';
import { findProgram, makeKeyFile, missingProgram, startSshd } from '../support/sshd.ts';

const never = new AbortController().signal;

async function reasonOf(config: TransportConfig, deadlineMs = 120_000): Promise<string> {
  try {
    return (await tryMirror(config, { clock: systemClock, signal: never, deadlineMs })).worked;
  } catch (error) {
    assert.ok(error instanceof TransportError, String(error));
    return `${error.reason}: ${error.message}`;
  }
}

test('a directory is tried without a change; one that is missing or a file is told', async (t) => {
  const directory = temporaryDirectory(t);
  await mkdir(join(directory, 'mirror'));
  await writeFile(join(directory, 'file'), '');
  const at = (name: string): TransportConfig => ({ type: 'directory', path: join(directory, name) });
  assert.match(await reasonOf(at('mirror')), /is there and may be written$/);
  assert.match(await reasonOf(at('gone')), /^not_found: .*is the disk mounted\?/);
  assert.match(await reasonOf(at('file')), /^not_found: /);
});

test('a file system that does not answer is left to a child, which is ended', async (t) => {
  const directory = temporaryDirectory(t);
  await writeFile(join(directory, 'stat'), '#!/bin/sh\nexec sleep 600\n');
  await chmod(join(directory, 'stat'), 0o755);
  const path = process.env.PATH;
  process.env.PATH = `${directory}:${path}`;
  t.after(() => {
    process.env.PATH = path;
  });
  const said = await reasonOf({ type: 'directory', path: directory }, 400);
  assert.match(said, /^timeout: .*the file system does not answer: is the server of the mount or the disk alive\?$/);
});

test('a host that takes a connection and says nothing ends at the deadline', async (t) => {
  if (missingProgram('ssh-keygen') !== undefined) return t.skip('ssh-keygen absent');
  const directory = temporaryDirectory(t);
  await makeKeyFile(join(directory, 'key'));
  const silent = createServer((socket) => t.after(() => socket.destroy()));
  await new Promise<void>((resolve) => {
    silent.listen(0, '127.0.0.1', resolve);
  });
  t.after(() => silent.close());
  const address = silent.address();
  assert.ok(address !== null && typeof address === 'object');
  const account = { host: '127.0.0.1', port: address.port, user: 'x', identity: join(directory, 'key') };
  const hostKeys = [`SHA256:${'A'.repeat(43)}`];
  const rest = { path: '/', stallMs: 60_000, deadlineMs: 60_000, fsync: 'always' } as const;
  for (const type of ['sftp', 'rsync'] as const)
    assert.match(
      await reasonOf({ type, ...account, hostKeys, ...rest }, 300),
      /^timeout: no end within 0\.3 s: is the host up, does a firewall drop what we send\?$/,
    );
});

test('rclone: a remote that can be listed, one that is not there, one that nobody has written down', async (t) => {
  if (missingProgram('rclone') !== undefined) return t.skip('rclone absent');
  const directory = temporaryDirectory(t);
  await mkdir(join(directory, 'mirror'));
  const configFile = join(directory, 'rclone.conf');
  await writeFile(configFile, '[disk]\ntype = local\n', { mode: 0o600 });
  const at = (remote: string): TransportConfig => ({
    type: 'rclone',
    remote,
    configFile,
    stallMs: 20_000,
    replace: 'auto',
  });
  assert.equal(await reasonOf(at(`disk:${directory}/mirror`)), `lets us list disk:${directory}/mirror`);
  assert.match(await reasonOf(at(`disk:${directory}/gone`)), /^not_found: /);
  assert.match(await reasonOf(at('nobody:x')), /^local: .*no remote of that name/);
});

test('a mirror that pulls has no account to try', async () => {
  assert.equal(await reasonOf({ type: 'pull' }), 'it pulls by itself: there is no account to try');
});

test('a lock of rrsync that is held for a moment is waited for, one that stays is told', async (t) => {
  const missing = missingProgram('sshd', 'rsync', 'rrsync', 'flock', 'ssh-keygen');
  if (missing !== undefined) return t.skip(`${missing} absent`);
  const directory = temporaryDirectory(t);
  const mirror = join(directory, 'mirror');
  await mkdir(mirror);
  await using sshd = await startSshd({ good: `${findProgram('rrsync')} -wo ${mirror}` });
  const config: TransportConfig = {
    type: 'rsync',
    host: sshd.host,
    port: sshd.port,
    user: sshd.user,
    path: '/',
    identity: sshd.identity('good'),
    hostKeys: [sshd.hostKeyFingerprint],
    stallMs: 20_000,
    deadlineMs: 60_000,
    fsync: 'always',
  };
  const other = spawn('flock', ['--no-fork', '-x', mirror, 'sh', '-c', 'echo held; exec sleep 600'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  t.after(() => other.kill());
  await once(other.stdout, 'data');
  // Whoever waits for the lock lets it go at the pause of that number.
  const trialWith = async (endsAtPause: number): Promise<string> => {
    let pauses = 0;
    const clock: Clock = {
      ...systemClock,
      sleep: async () => {
        if (++pauses !== endsAtPause) return;
        const gone = once(other, 'close');
        other.kill();
        await gone;
      },
    };
    try {
      return `${(await tryMirror(config, { clock, signal: never, deadlineMs: 120_000 })).worked}, ${pauses}`;
    } catch (error) {
      assert.ok(error instanceof TransportError, String(error));
      return `${error.reason}, ${pauses}`;
    }
  };
  assert.equal(await trialWith(-1), 'busy, 3');
  assert.equal(await trialWith(2), 'lets us write to / (dry run), 2');
});
