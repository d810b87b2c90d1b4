/** Pushes over several sessions of one connection, to servers that give as many as they like. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import ssh2, { type ServerChannel } from 'ssh2';
import { TransportError } from '../../src/errors.ts';
import { createSftpTransport } from '../../src/replicate/sftp.ts';
import type { PushFile, Transport } from '../../src/replicate/transport.ts';
import { ConfinedFiles } from '../../src/system/ssh-server-files.ts';
import { serveSession } from '../../src/system/ssh-server-session.ts';
import { createKeyPair } from '../../src/system/ssh-server.ts';
import { removeAtEnd } from '../support/remove-at-end.ts';

interface Far {
  readonly transport: Transport;
  /** Bytes that came over each session that was given. */
  readonly bytes: number[];
  /** Sessions that were asked for. */
  asked: number;
  /** Puts files of that generation, and looks that they are there whole. */
  put(generation: number): Promise<void>;
}

const names = ['a', 'b', 'c', 'd', 'e', 'f'];

/** `onChannel` is told of each session that is given, by its number. */
async function start(
  t: TestContext,
  { most = 10, onChannel }: { most?: number; onChannel?: (channel: ServerChannel, n: number) => void } = {},
): Promise<Far> {
  const base = mkdtempSync(join(tmpdir(), 'lockstepd-sessions-'));
  removeAtEnd(t, base);
  for (const name of ['root', 'source']) mkdirSync(join(base, name));
  const keys = createKeyPair();
  const identity = join(base, 'key');
  writeFileSync(identity, keys.privateKey, { mode: 0o600 });
  const files = new ConfinedFiles(join(base, 'root'));
  const bytes: number[] = [];
  const server = new ssh2.Server({ hostKeys: [keys.privateKey] }, (client) => {
    client.on('error', () => {});
    client.on('authentication', (attempt) => attempt.accept());
    client.on('session', (accept, refuse) => {
      far.asked++;
      if (bytes.length >= most) return refuse();
      accept().on('subsystem', (take) => {
        const channel = take();
        const n = bytes.push(0) - 1;
        channel.on('error', () => {});
        channel.on('data', (chunk: Buffer) => (bytes[n] = (bytes[n] ?? 0) + chunk.length));
        serveSession(channel, files).catch(() => {});
        onChannel?.(channel, n);
      });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const parsed = ssh2.utils.parseKey(keys.publicKey);
  assert.ok(!(parsed instanceof Error));
  const pin = `SHA256:${createHash('sha256').update(parsed.getPublicSSH()).digest('base64')}`;
  const address = server.address();
  const port = typeof address === 'object' && address ? address.port : 0;
  const target = { host: '127.0.0.1', port, user: 'u', identity, hostKeys: [pin] };
  const transport = createSftpTransport({ target, path: '/' });
  t.after(() => transport.close());
  const far: Far = {
    transport,
    bytes,
    asked: 0,
    put: async (generation) => {
      const wave = names.map((name): PushFile => {
        const content = name.repeat(9000 + generation);
        writeFileSync(join(base, 'source', name), content);
        return { path: name, size: content.length, mtimeSeconds: generation };
      });
      const waves = [wave.slice(0, -1), wave.slice(-1)];
      await transport.put(join(base, 'source'), waves, { signal: new AbortController().signal });
      assert.deepEqual(
        readdirSync(join(base, 'root')).filter((name) => !name.startsWith('.')),
        names,
      );
      for (const name of names)
        assert.equal(readFileSync(join(base, 'root', name), 'utf8'), name.repeat(9000 + generation));
    },
  };
  return far;
}

/** Until what nobody waits for has been asked and answered. */
async function until(what: () => boolean): Promise<void> {
  for (const deadline = performance.now() + 60_000; !what(); await sleep(5))
    if (performance.now() > deadline) throw new Error('it did not come');
}

/** Puts until as many sessions have been written over. */
async function untilUsed(far: Far, sessions: number): Promise<void> {
  let generation = 1;
  while (far.bytes.filter((count) => count > 9000).length < sessions) {
    assert.ok(generation < 100, `only ${far.bytes.join(' and ')} bytes came`);
    await far.put(generation++);
  }
}

test('the first put opens sessions for the next one, which writes over all of them', async (t) => {
  const far = await start(t);
  await untilUsed(far, 3);
  await far.put(100);
  assert.equal(far.asked, 3, 'they are kept');
  await far.transport.close();
  await untilUsed(far, 6);
});

test('a server that gives one session only is asked once for more, and served over that one', async (t) => {
  const far = await start(t, { most: 1 });
  for (const generation of [1, 2, 3]) {
    await far.put(generation);
    await until(() => far.asked === 3);
  }
  assert.equal(far.bytes.length, 1);
});

test('a server that gives two is used with two', async (t) => {
  const far = await start(t, { most: 2 });
  await untilUsed(far, 2);
  await until(() => far.asked === 3);
  await far.put(100);
  assert.equal(far.asked, 3);
});

test('a server whose further sessions end in use fails one put for each of them, and no more', async (t) => {
  const far = await start(t, {
    onChannel: (channel, n) => {
      let count = 0;
      channel.on('data', (chunk: Buffer) => {
        count += chunk.length;
        if (n > 0 && count > 2000) channel.destroy();
      });
    },
  });
  const isOver = (): boolean => far.bytes.length === 3 && far.bytes.every((count) => count > 2000);
  let failures = 0;
  // Until one went well behind the last end: that may be heard of here later than there.
  for (let [generation, isWhole] = [1, false]; !isOver() || !isWhole; generation++) {
    assert.ok(generation < 1000, `${far.bytes.join(' and ')} bytes came`);
    isWhole = await far.put(generation).then(
      () => true,
      (error: unknown) => {
        assert.ok(error instanceof TransportError && error.kind === 'retryable', String(error));
        failures++;
        return false;
      },
    );
  }
  assert.ok(failures === 1 || failures === 2, `${failures} failures of two sessions`);
  for (const generation of [1001, 1002, 1003]) await far.put(generation);
  assert.equal(far.asked, 3, 'none is opened anew');
});
