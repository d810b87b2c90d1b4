/** The end of a connection whose other side does not read any more. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import ssh2 from 'ssh2';
import { SshConnection } from '../../src/system/ssh.ts';
import { createKeyPair } from '../../src/system/ssh-server.ts';
import { removeAtEnd } from '../support/remove-at-end.ts';

/** Each takes 2 MiB before it must be read: together more than what two sockets on loopback hold back. */
const channels = 12;

test('a connection ends although its peer has stopped reading while much is on its way', async (t) => {
  const base = mkdtempSync(join(tmpdir(), 'lockstepd-ssh-'));
  removeAtEnd(t, base);
  writeFileSync(join(base, 'key'), createKeyPair().privateKey, { mode: 0o600 });
  const hostKey = createKeyPair();
  const server = new ssh2.Server({ hostKeys: [hostKey.privateKey] }, (client) => {
    client.on('error', () => {});
    client.on('authentication', (attempt) => attempt.accept());
    client.on('session', (accept) => accept().on('exec', (take) => void take()));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const sockets: Socket[] = [];
  const link = createServer((near) => {
    const far = connect((server.address() as { port: number }).port, '127.0.0.1');
    sockets.push(near, far);
    for (const socket of [near, far]) socket.on('error', () => {});
    near.pipe(far).pipe(near);
  });
  link.listen(0, '127.0.0.1');
  await once(link, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    link.close();
    server.close();
  });
  const publicKey = Buffer.from(hostKey.publicKey.split(' ')[1] ?? '', 'base64');
  const connection = new SshConnection({
    host: '127.0.0.1',
    port: (link.address() as { port: number }).port,
    user: 'u',
    identity: join(base, 'key'),
    hostKeys: [`SHA256:${createHash('sha256').update(publicKey).digest('base64')}`],
  });
  const signal = new AbortController().signal;
  const streams = [];
  for (let n = 0; n < channels; n++) {
    const { stream } = await connection.exec('take', signal);
    stream.on('error', () => {});
    streams.push(stream);
  }
  const [near, far] = sockets;
  near?.unpipe(far).pause();
  for (const stream of streams) stream.write(Buffer.alloc(2 * 1024 * 1024));
  await sleep(300);
  const closed = await Promise.race([connection.close().then(() => 'closed'), sleep(120_000, 'hung', { ref: false })]);
  assert.equal(closed, 'closed');
});
